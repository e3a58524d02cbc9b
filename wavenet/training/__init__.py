"""One stem's training: loop, checkpoints, metrics."""

CHECKPOINTS = "checkpoints"
"""Folder of checkpoints in a training's own."""
