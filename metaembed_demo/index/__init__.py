"""The multi-vector index: MaxSim, storage kinds, the coarse stage."""
