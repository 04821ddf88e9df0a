"""IPython: the magics, and how they come and go."""
