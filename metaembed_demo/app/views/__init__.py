"""HTML and charts from records. No Gradio, no torch, no state."""
