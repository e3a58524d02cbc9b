"""Layouts: how files lie in folders of music and in well-known data sets, and what songs they are.

A module each, with `scan(listing, track_stem) -> Scan`, and `recognize(listing) -> bool` where the
layout has marks of its own. None opens audio, and none decides a split that its data set does not state.
"""
