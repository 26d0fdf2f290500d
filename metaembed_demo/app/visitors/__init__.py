"""One visitor: session, uploads, searches, jobs. No Gradio."""
