"""Training Meta Tokens and LoRA on a vision-language model."""
