"""Waveforms: decoding, companding, separation, loudness and mixing."""
