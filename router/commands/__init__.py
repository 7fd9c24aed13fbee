"""Commands that act on the store: what administrators do without a running router."""
