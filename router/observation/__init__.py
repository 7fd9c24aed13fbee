"""Reads what the rooms keep anyway, for metrics; nothing here is on the way of a request."""
