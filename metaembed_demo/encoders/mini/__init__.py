"""MetaEmbed-Mini, the CPU encoder."""
