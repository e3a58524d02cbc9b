"""How good it is, in numbers and for the ear."""
