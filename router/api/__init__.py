"""Wire in, wire out: the OpenAI and KServe front doors, health and documentation."""
