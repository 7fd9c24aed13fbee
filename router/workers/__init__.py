"""`embedway serve`: one process that serves, or several and one that looks after them."""
