"""Who calls: keys of the file and the store, tokens of identity providers, answered from memory."""
