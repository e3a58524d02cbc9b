"""The harness: ratios of medians, targets, the shape of its JSON, and a whole run of a toy benchmark."""

import json
import os
import re
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from benchmarks import __main__ as command
from benchmarks import harness
from benchmarks.harness import (
    Result,
    Setting,
    compare_rates,
    describe_machine,
    describe_run,
    measure_in_turn,
    pinned_pool,
    run_apart,
    run_pinned,
)

TOY = """
    from benchmarks.harness import Result, compare_rates

    def measure(setting):
        assert setting.quick and setting.folder.is_dir()
        nothing = lambda: None
        yield compare_rates("toy/rate", "calls/s", 1, nothing, ("nothing", nothing), setting.repeats)
        yield Result("toy/size", "bytes", 3.0, "two bytes", 2.0, at_most=1.0)
"""


def result(value=2.0, baseline_value=1.0, **targets):
    return Result("a/case", "things/s", value, "the plain way", baseline_value, **targets)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A benchmark named toy beside the others."""
    (tmp_path / "toy.py").write_text(textwrap.dedent(TOY))
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path)])
    yield "toy"
    sys.modules.pop("benchmarks.toy", None)


def test_a_ratio_is_of_value_to_baseline():
    assert result(3.0, 2.0).ratio == 1.5


@pytest.mark.parametrize(
    ("targets", "met"),
    [
        ({}, None),
        ({"at_least": 2.0}, True),
        ({"at_least": 2.1}, False),
        ({"at_most": 2.0}, True),
        ({"at_most": 1.9}, False),
        ({"at_least": 1.0, "at_most": 3.0}, True),
        ({"at_least": 0.0}, True),
        ({"at_most": 0.0}, False),
    ],
)
def test_a_target_is_met_by_the_ratio(targets, met):
    assert result(**targets).met is met


def test_a_result_has_the_fields_of_the_house_and_targets_only_where_there_are_some():
    plain = {"case", "unit", "value", "baseline", "baseline_value", "ratio"}
    assert set(result().to_json()) == plain
    assert set(result(at_least=1.0).to_json()) == plain | {"at_least", "met"}
    assert set(result(at_most=1.0).to_json()) == plain | {"at_most", "met"}


def test_a_run_is_one_object_without_names_or_paths_of_the_machine():
    run = describe_run("toy", [result()])
    assert list(run) == ["benchmark", "machine", "results"]
    machine = json.dumps(run["machine"])
    assert os.uname().nodename not in machine
    assert not re.search(r"(?<!\w)/\w", machine)
    assert run["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert run["machine"]["packages"]["numpy"] == np.__version__
    assert describe_machine()["processor"]


def test_medians_leave_out_the_repeat_that_something_else_slowed(monkeypatch):
    durations = iter([9.0, 9.0, 1.0, 2.0, 2.0, 100.0, 1.0, 2.0])  # to warm up, then in turn
    now = 0.0

    def pass_time():
        nonlocal now
        now += next(durations)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    assert measure_in_turn(pass_time, pass_time, 3) == (1.0, 2.0)


def test_value_and_baseline_are_measured_in_turn_and_take_turns_at_being_first():
    calls = []
    measure_in_turn(lambda: calls.append("v"), lambda: calls.append("b"), 4)
    assert "".join(calls) == "vb" + "vb" + "bv" + "vb" + "bv"


def test_what_takes_a_third_of_the_time_has_three_times_the_rate(monkeypatch):
    now = 0.0

    def take(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    outcome = compare_rates("a", "b", 10, lambda: take(0.01), ("slow", lambda: take(0.03)), 5)
    assert outcome.ratio == pytest.approx(3)
    assert outcome.value == pytest.approx(10 / 0.01)


def test_a_quick_setting_repeats_less():
    assert Setting(Path(), quick=True).repeats < Setting(Path()).repeats


def test_a_pinned_process_has_one_core_and_another_has_all():
    assert len(run_pinned(harness.available_cores)) == 1
    assert run_apart(harness.available_cores) == harness.available_cores()
    assert run_apart(os.getpid) != os.getpid()


@pytest.mark.skipif(len(harness.available_cores()) < 2, reason="needs two cores")
def test_two_pinned_processes_have_different_cores():
    with pinned_pool(2) as pool:
        cores, deadline = set(), time.monotonic() + 30
        while time.monotonic() < deadline:  # the second process starts a second after the first
            found = [pool.submit(harness.available_cores) for _ in range(4)]
            cores |= {tuple(each.result()) for each in found}
            if len(cores) == 2:
                return
    raise AssertionError(f"both ran on {cores}")


def test_the_helpers_are_no_benchmarks():
    names = command.benchmark_names()
    assert "data" in names
    assert not set(names) & {"harness", "report", "music", "__main__"}


def test_a_quick_run_ends_with_one_json_object_and_succeeds_though_a_target_is_missed(toy, capsys):
    assert command.main([toy, "--quick", "--json"]) == 0
    out, err = capsys.readouterr()
    run = json.loads(out.splitlines()[-1])
    assert run["benchmark"] == toy
    assert [each["case"] for each in run["results"]] == ["toy/rate", "toy/size"]
    assert run["results"][1]["ratio"] == 1.5
    assert run["results"][1]["met"] is False
    assert "MISSED" in err


def test_without_json_the_table_is_what_is_printed(toy, capsys):
    assert command.main([toy, "--quick"]) == 0
    out, _ = capsys.readouterr()
    assert "toy/size" in out
    assert "MISSED" in out
    assert "{" not in out


def test_an_unknown_benchmark_is_refused_with_the_names_there_are(capsys):
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert "data" in capsys.readouterr().err
