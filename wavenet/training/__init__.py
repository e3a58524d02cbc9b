"""One stem's training: loop, checkpoints, metrics."""
