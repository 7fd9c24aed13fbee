"""A changed configuration file, from the disk into a running router, and what is told of it."""
