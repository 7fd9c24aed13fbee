"""Pure decisions: who may call and whether there is room."""
