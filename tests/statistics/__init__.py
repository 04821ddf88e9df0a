"""The proof of the statistics: simulated experiments whose truth is known; ``python -m tests.statistics``."""
