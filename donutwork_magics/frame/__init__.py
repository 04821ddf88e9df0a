"""The DataFrame: its schema, and how the rows of a run become one."""
