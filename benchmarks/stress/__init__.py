"""The parts of `make stress-quotas`."""
