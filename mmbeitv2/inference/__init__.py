"""Models from configs and checkpoints, and what is done with them without training."""
