"""MetaEmbed on vision-language models."""
