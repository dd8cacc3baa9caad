"""Safe states in front of a model, one file each, and the network path that they change."""
