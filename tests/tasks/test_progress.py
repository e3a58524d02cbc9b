"""Progress is told in lines, with the time left."""

import re

import pytest

from tasks.progress import Progress, TrainingProgress, clock
from wavenet.evaluation.baselines import Baselines

BASELINES = Baselines(uniform=8.0, unigram=5.0, order2=3.75, order4=3.5, unresolved=3.0)


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
    progress = TrainingProgress("drums", 100, BASELINES)
    progress.begin([{"step": 40, "train/bits_per_sample": 3.0, "train/scored_samples_per_second": 10.0}])
    progress.report({"step": 50, "train/bits_per_sample": 2.5, "train/scored_samples_per_second": 1000.0})
    beside, first, second = capsys.readouterr().err.splitlines()
    assert "uniform 8.000, unigram 5.000, order2 3.750, order4 3.500" in beside
    assert first.split() == ["train", "drums", "goes", "on", "from", "40/100"]
    assert re.search(r"50/100  2\.500 bits  [1-9]\S* steps/s  1,000 samples/s  0:00 left", second)
