"""MetaEmbed-Mini: the encoder for any CPU."""
