"""The network as the paper has it, and its form on disk."""

WEIGHTS, CARD = "model.safetensors", "config.json"
"""The files of a saved model; here, for those who name them without torch."""
TRAINED = "trained"
"""Folder, in a training's, of the saved model that it ends with."""
