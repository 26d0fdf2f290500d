"""The page in Gradio: layout, wiring and handlers."""
