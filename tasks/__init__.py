"""One Prefect task a stage: call the library, record, return a small record."""
