"""Training MetaEmbed-Mini."""
