"""`embedway up`: Triton, a model and the router on one machine, started and ended as one."""
