"""Progress is told in lines, with the time left."""

import pytest

from tasks.progress import Progress, TrainingProgress, clock


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0:00"), (59.6, "1:00"), (605, "10:05"), (3661, "1:01:01")]
)
def test_a_clock_reads_as_people_write_it(seconds, told):
    assert clock(seconds) == told


def test_the_first_and_the_last_line_are_always_told(capsys):
    progress = Progress("ingest", 100)
    for _ in range(100):
        progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("ingest           1/100")
    assert lines[-1].startswith("ingest           100/100")
    assert len(lines) < 10


def test_a_resumed_training_says_where_it_goes_on(capsys):
    progress = TrainingProgress("drums", 100)
    progress.begin([{"step": 40, "train/bits_per_sample": 3.0, "train/scored_samples_per_second": 10.0}])
    progress.report({"step": 50, "train/bits_per_sample": 2.5, "train/scored_samples_per_second": 1000.0})
    first, second = capsys.readouterr().err.splitlines()
    assert first.split() == ["train", "drums", "goes", "on", "from", "40/100"]
    assert "50/100  2.500 bits  1,000 samples/s" in second
