"""What administrators may see and change, over HTTP or from the command line."""
