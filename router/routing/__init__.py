"""Pure choice of targets."""
