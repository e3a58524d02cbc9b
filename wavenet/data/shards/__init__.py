"""Parquet shards of one stem: the only owner of the format, its reader beside its writer.

Layout of a shard set, format version 2:

    manifest.json            written last: a folder without it is not a shard set
    train-00000.parquet ...  one row a segment, in the order of tracks and time
    heldout-00000.parquet, test-00000.parquet ...
    README.md                the dataset card, for people and for `datasets.load_dataset`

Columns: see `format.py`. Segments of a track lie on one grid, start_sample = i * segment_length, shared
by its stems; only a track's last segment may be shorter, and silent ones may be left out.
"""
