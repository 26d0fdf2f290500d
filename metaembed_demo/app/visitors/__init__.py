"""A visitor's state: session, uploads, searches, jobs. Independent of Gradio."""
