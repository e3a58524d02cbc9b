"""The cases of `training`: what is counted is what is done. How fast it is is not tested here."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import __main__ as command
from benchmarks import steps, training
from benchmarks.harness import Apart, Result, Setting, ask_in_turn, available_cores
from benchmarks.training import SMALL, STANDARD, cpu_results, cuda_results
from benchmarks.workload import Workload
from wavenet.config import ModelConfig
from wavenet.data.demo_album import write_demo_album
from wavenet.model.wavenet import WaveNet
from wavenet.training.windows import Windows

TINY = Workload(
    "tiny",
    ModelConfig(dilation_cycle=3, num_cycles=2, residual_channels=6, gate_channels=5, skip_channels=7),
    batch_size=2,
    scored_length=30,
    levels=16,
)
SECONDS = {"plain": 10.0, "fast-fp32": 4.0, "fast-bf16": 1.0, "fp32": 0.2, "bf16": 0.02}
MEMORY = {"plain": 1000, "fast-fp32": 400, "fast-bf16": 600}


class CountProducts(TorchDispatchMode):
    """Operations of all matrix products in either direction, two a multiply-add."""

    flops = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket.__name__.rstrip("_") in ("mm", "addmm"):
            left, right = args[-2:]
            self.flops += 2 * left.shape[0] * left.shape[1] * right.shape[1]
        return function(*args, **(kwargs or {}))


def start(work, seed=0):
    """A network and windows for it."""
    torch.manual_seed(seed)
    model = WaveNet(work.model, work.levels)
    length = model.receptive_field + work.scored_length
    return model, Windows(torch.randint(work.levels, (work.batch_size, length)), None)


def by_case(results) -> dict[str, Result]:
    return {result.case: result for result in results}


class Here:
    """As `harness.Apart`, in this process."""

    def __init__(self, make, *args):
        self.held = make(*args)

    def ask(self, method):
        return getattr(self.held, method)()

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        pass


@pytest.fixture
def here(monkeypatch):
    """Whatever is measured is measured in this process, whose threads and allocator stay as they are."""
    before = torch.get_num_threads()
    monkeypatch.setattr(training, "Apart", Here)
    monkeypatch.setattr(training, "fresh_pool", lambda workers: ThreadPoolExecutor(1))
    monkeypatch.setattr(steps, "keep_memory", lambda: True)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "changes", [{}, {"kernel_size": 3}, {"skip": "concat", "head_channels": 9}, {"bias": False}]
)
def test_the_operations_that_are_counted_are_those_that_a_step_of_the_fast_path_does(changes):
    work = replace(TINY, model=TINY.model.model_copy(update=changes))
    model, windows = start(work)
    with CountProducts() as count:
        steps.choose_loss("fast-fp32")(model, windows, None).backward()
    assert count.flops == work.flops()


def test_rows_begin_with_all_there_is_and_end_with_those_that_are_scored():
    rows = TINY.layer_rows()
    assert rows[0][0] == 2 * (TINY.model.receptive_field - 1 + 30)
    assert rows[-1][1] == TINY.num_scored == 60
    assert [before - after for before, after in rows] == [2 * d for d in TINY.model.dilations]


def test_what_one_layer_moves_is_what_one_would_count_by_hand():
    model = ModelConfig(dilation_cycle=1, num_cycles=1, residual_channels=3, gate_channels=2, skip_channels=5)
    work = Workload("one", model, batch_size=1, scored_length=1, levels=16)
    inputs, gates, skips, head = 2 * 3 * 4, 2 * 2 * 2, 5 * 3, (5 + 5 + 16) * 4  # elements, and how often
    assert work.least_bytes(2) == 2 * (inputs + gates + skips + head)


@pytest.mark.parametrize(("way", "tolerance"), [("fast-fp32", 1e-5), ("fast-bf16", 0.02)])
def test_every_way_has_the_plain_loss(way, tolerance):
    model, windows = start(TINY)
    expected = float(steps.choose_loss("plain")(model, windows, None).detach())
    found = float(steps.choose_loss(way)(model, windows, None).detach())
    assert found == pytest.approx(expected, rel=tolerance)


def test_what_is_compiled_for_a_gpu_has_the_plain_loss():
    model, windows = start(TINY)
    rough = float(steps.autocast_loss(model, windows, None).detach())
    assert rough == pytest.approx(float(steps.plain_loss(model, windows, None).detach()), rel=0.02)


def test_an_object_apart_lives_on_between_questions():
    with Apart(Counter, "ab") as counter:
        counter.ask("update", "b")
        assert counter.ask("most_common") == [("b", 2), ("a", 1)]


def test_all_are_asked_in_turn_and_each_is_first_at_times():
    asked = []

    class Scripted:
        def __init__(self, name, *seconds):
            self.name, self.seconds = name, list(seconds)

        def ask(self, method):
            asked.append(self.name)
            return self.seconds.pop(0)

    others = {"a": Scripted("a", 9.0, 1.0, 5.0, 2.0), "b": Scripted("b", 9.0, 4.0, 3.0, 4.0)}
    assert ask_in_turn(others, 3) == {"a": 2.0, "b": 4.0}
    assert "".join(asked) == "ab" + "ab" + "ba" + "ab"


def test_a_step_apart_takes_time_and_memory():
    work = replace(TINY, scored_length=20_000)
    with Apart(steps.Trainer, "fast-bf16", work, 1) as trainer:
        assert trainer.ask("run") > 0
        kept = sum(2 * rows * 2 * TINY.model.gate_channels for _, rows in work.layer_rows())
        assert trainer.ask("memory") > kept


@pytest.mark.usefixtures("here")
def test_every_case_is_measured_and_only_the_standard_network_is_judged(monkeypatch):
    monkeypatch.setattr(training, "PRODUCT_SIZE", 64)
    found = by_case(training.measure_cpu(TINY, Setting(Path(), quick=True, threads=1)))
    ways = [f"training/tiny/{way}" for way in training.FAST]
    cases = [case + part for case in ways for part in ("", "/of-product", "/memory")]
    assert list(found) == ["training/tiny/plain", *cases, "training/product/bf16"]
    assert all(result.met is None for result in found.values())
    assert all(result.value > 0 for case, result in found.items() if not case.endswith("/memory"))


def test_the_targets_are_of_the_standard_network():
    found = by_case(cpu_results(STANDARD, SECONDS, MEMORY, has_bf16=True))
    assert found["training/standard/plain"].value == pytest.approx(STANDARD.num_scored / 10)
    assert found["training/standard/fast-fp32"].ratio == pytest.approx(2.5)
    assert found["training/standard/fast-bf16"].ratio == pytest.approx(10)
    verdicts = {case.removeprefix("training/standard/"): result.met for case, result in found.items()}
    assert verdicts == {
        "plain": None,
        "fast-fp32": True,
        "fast-fp32/of-product": True,
        "fast-fp32/memory": True,
        "fast-bf16": True,
        "fast-bf16/of-product": None,
        "fast-bf16/memory": False,
        "training/product/bf16": None,
    }
    missed = by_case(cpu_results(STANDARD, SECONDS | {"fast-fp32": 4.6}, MEMORY, has_bf16=True))
    assert missed["training/standard/fast-fp32"].met is False


def test_the_share_of_a_product_is_of_operations_a_second():
    found = by_case(cpu_results(STANDARD, SECONDS, MEMORY, has_bf16=True))
    share = found["training/standard/fast-fp32/of-product"]
    assert share.value == pytest.approx(STANDARD.flops() / 4)
    assert share.baseline_value == pytest.approx(2 * 2048**3 / 0.2)
    plain = found["training/standard/plain"]
    assert plain.ratio == pytest.approx(share.ratio * 4 / 10)


def test_bf16_without_arithmetic_for_it_is_told_and_only_its_memory_judged():
    found = by_case(cpu_results(STANDARD, SECONDS, MEMORY, has_bf16=False))
    assert found["training/standard/fast-bf16"].met is None
    assert found["training/standard/fast-bf16/memory"].met is False
    assert found["training/standard/fast-fp32"].met is True
    told = {case for case, result in found.items() if result.note == "no bf16 arithmetic here"}
    bf16 = "training/standard/fast-bf16"
    assert told == {bf16, f"{bf16}/of-product", "training/product/bf16"}


def test_a_gpu_is_judged_by_its_quicker_way_if_it_is_a_large_one():
    seconds = {"plain": 1.0, "fast-bf16": 0.1, "compiled-bf16": 0.01, "product": 0.002, "copy": 0.001}
    work = replace(STANDARD, batch_size=16)
    found = by_case(cuda_results(work, seconds, "a card", judged=True))
    bf16 = found["training/standard/cuda/bf16"]
    assert bf16.value == pytest.approx(16 * 8192 / 0.01)
    assert bf16.met is True
    assert bf16.note == "compiled-bf16, a card"
    assert found["training/standard/cuda/fast-bf16"].ratio == pytest.approx(10)
    assert found["training/standard/cuda/bf16/of-bandwidth"].value == pytest.approx(
        work.least_bytes(2) / 0.01
    )
    small = by_case(cuda_results(work, seconds, "a card", judged=False))
    assert small["training/standard/cuda/bf16"].met is None


@pytest.mark.parametrize("there", [False, True])
def test_a_gpu_is_measured_where_there_is_one(monkeypatch, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(training, "measure_cpu", lambda work, setting: iter([work.name]))
    monkeypatch.setattr(training, "measure_heldout", lambda setting: "bits")
    monkeypatch.setattr(training, "measure_cuda", lambda work, setting: iter(["gpu"]))
    assert list(training.measure(Setting(Path()))) == ["standard", "bits"] + ["gpu"] * there
    assert next(training.measure(Setting(Path(), quick=True))) == "small"


@pytest.mark.usefixtures("here")
def test_a_brief_training_learns_and_ends_alike_each_time(tmp_path):
    album = write_demo_album(tmp_path / "album", num_songs=2, seconds=2.0, sample_rate=8000)
    train, heldout = training.read_stem(album)
    assert len(train.codes) == len(heldout.codes) == 16000
    untrained = training.score_heldout(start(SMALL)[0], heldout)
    learnt = training.train_briefly("fast-fp32", album, 12)
    assert learnt < untrained - 0.2
    assert training.train_briefly("fast-fp32", album, 12) == learnt


@pytest.mark.usefixtures("here")
def test_bits_of_bf16_are_held_against_those_of_fp32(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "QUICK_STEPS", 2)
    monkeypatch.setattr(training, "SONG_SECONDS", 2.0)
    result = training.measure_heldout(Setting(tmp_path, quick=True))
    assert result.case == "training/small/bf16-vs-fp32-heldout-bits"
    assert result.ratio == pytest.approx(1, abs=0.05)
    assert result.value != result.baseline_value
    assert result.met is None


def test_the_tools_of_training_are_no_benchmarks():
    assert "training" in command.benchmark_names()
    assert not {"steps", "workload"} & set(command.benchmark_names())


@pytest.mark.parametrize("text", ["0", "-1", "two"])
def test_a_number_of_threads_below_one_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        command.main(["training", f"--threads={text}"])
    assert "expected 1 or more" in capsys.readouterr().err


def test_all_cores_train_where_nothing_is_said():
    assert Setting(Path(), threads=3).num_threads == 3
    assert Setting(Path()).num_threads == len(available_cores())
