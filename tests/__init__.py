"""Tests, in the same rooms as the code; helpers in support/."""

import os

# The tests' tolerances are those of float32; a CPU with bfloat16 would load in that.
os.environ.setdefault("METAEMBED_VLM_DTYPE", "float32")
