"""The memory that routers share: the wire to it, and nothing of what is kept there."""
