"""One wire protocol to a target a file; they translate and call, nothing else."""
