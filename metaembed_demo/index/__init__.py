"""The multi-vector index: MaxSim, storage kinds, coarse search."""
