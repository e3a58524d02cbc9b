"""The network as the paper has it, and its form on disk."""
