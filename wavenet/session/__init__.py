"""One stem's training as a process of its own: `python -m wavenet.session JOB.json`."""
