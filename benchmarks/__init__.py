"""How fast, how small, how much memory: `python -m benchmarks NAME [--json] [--quick] [--audio FOLDER]`.

A module here with a `measure(setting)` that yields results is a benchmark by its name. Figures are
ratios to a baseline that is measured in the same run on the same machine; a missed target is reported,
and is no error.
"""
