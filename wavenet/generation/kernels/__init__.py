"""Generation kernels: one module a kind of machine, each tested against the plain oracle."""
