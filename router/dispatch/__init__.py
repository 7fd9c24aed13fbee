"""From a batch to its vectors: memory, plan, attempts, fallback; and the watch over each space."""
