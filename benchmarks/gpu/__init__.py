"""One script for a machine with a GPU: the engine at Qwen3-Embedding's sizes, random weights."""
