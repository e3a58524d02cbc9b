"""metrics.jsonl survives whatever broke it off."""

from wavenet.training.metrics import FINAL_BITS, MetricsFile, read_metrics


def write(path, *rows):
    with MetricsFile(path, last_step=10**9) as file:
        for row in rows:
            file.report(row)


def test_lines_come_back_in_order(tmp_path):
    rows = [{"step": step, "train/bits_per_sample": 8.0 - step} for step in range(5)]
    write(tmp_path / "m.jsonl", *rows)
    assert read_metrics(tmp_path / "m.jsonl") == rows


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "m.jsonl"
    write(path, {"step": 1, "a": 1.0})
    with path.open("a") as stream:
        stream.write('{"step": 2, "a"')
    assert read_metrics(path) == [{"step": 1, "a": 1.0}]
    write(path, {"step": 2, "a": 2.0})
    assert [row["step"] for row in read_metrics(path)] == [1, 2]


def test_lines_from_beyond_the_checkpoint_are_dropped_on_resume(tmp_path):
    path = tmp_path / "m.jsonl"
    write(path, {"step": 1}, {"step": 2}, {"step": 3})
    with MetricsFile(path, last_step=2):
        pass
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]


def test_the_final_line_is_written_once_though_scoring_is_repeated(tmp_path):
    path = tmp_path / "m.jsonl"
    write(path, {"step": 4, FINAL_BITS: 3.0})
    write(path, {"step": 4, FINAL_BITS: 3.0})
    assert len(read_metrics(path)) == 1
