"""Local servers that behave as providers do, well or badly, and a run that tries to break us."""
