"""Prompts and tokenisers: from input text to the token ids that a model takes."""
