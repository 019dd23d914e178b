"""Training steps, inference and the data pipeline, measured against a peer in the same process."""
