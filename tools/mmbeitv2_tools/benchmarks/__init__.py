"""Training steps, the data pipeline and ways to resize, measured against peers in the same process."""
