"""MetaEmbed on a vision-language model."""
