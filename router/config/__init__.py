"""The file format, its validation, and the process's environment."""
