"""From folders to training windows: scanning, tracks, splits, Parquet shards and their reader."""
