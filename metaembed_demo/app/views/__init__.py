"""Records in, HTML and figures out. No Gradio, no torch, no state."""
