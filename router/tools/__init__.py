"""`embedway verify`, `explain` and `compare`: what a fleet is worth, without doors."""
