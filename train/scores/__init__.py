"""Training-free scores of layers: one file each, one line each in a table; none yet."""
