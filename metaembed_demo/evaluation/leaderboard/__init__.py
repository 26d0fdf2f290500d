"""MTEB and MMEB tasks at every budget."""
