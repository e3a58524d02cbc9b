"""From a trained network to codes."""
