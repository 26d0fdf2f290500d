"""Tests, in the same rooms as the code; helpers in support/."""
