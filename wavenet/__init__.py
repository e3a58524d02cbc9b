"""The Waveband library: audio, shards, the network, its training, generation and evaluation.

Knows nothing of Prefect, MLflow or the command line.
"""
