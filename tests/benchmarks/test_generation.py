"""The benchmark of generation: its baseline is the network, its cases are what is promised."""

import numpy as np
import pytest
import torch

from benchmarks import generation
from benchmarks.generation import CACHES, Case, compare_with_memory, compare_with_plain, list_cases
from benchmarks.players import Band, Compiled, PlainTorch, Reading, make_context, make_network
from benchmarks.reading import read_again
from wavenet.config import ModelConfig
from wavenet.generation import processor
from wavenet.generation.engine import BLOCK

TINY = ModelConfig(dilation_cycle=4, num_cycles=2, residual_channels=8, gate_channels=8, skip_channels=16)


@torch.no_grad()
def test_the_plain_loop_says_what_the_network_says():
    model, plain = make_network(TINY), PlainTorch(TINY, 10)
    (codes,) = make_context(model, 1, spare=20)
    said = []
    for code in codes:
        plain.code = torch.tensor([int(code)])
        said.append(plain._next())
    expected = model(torch.from_numpy(codes.astype(np.int64))[None])[0].t()
    torch.testing.assert_close(torch.cat(said)[-len(expected) :], expected, rtol=1e-4, atol=1e-4)


def test_both_ways_play_and_take_time():
    assert PlainTorch(TINY, 5).run() > 0
    played = Compiled(TINY, 50, "fp32", num_streams=3, threads=2)
    assert played.run() > 0
    assert next(played.blocks).shape == (3, 50)


def test_a_band_plays_all_its_stems_and_sums_them():
    band = Band(TINY, 2 * BLOCK, "fp32", num_stems=3, threads=2)
    assert band.run() > 0
    mix = band._mix(1)
    assert mix.shape == (BLOCK,)
    assert np.abs(mix).max() > 1  # more than one stem can


def test_memory_is_read_whole_each_time():
    values = np.arange(1000, dtype=np.float32)
    assert read_again(values, 3) == pytest.approx(3 * values.sum(), rel=1e-5)
    assert Reading(4000, 3).run() > 0


def test_every_promise_is_a_case_of_its_own():
    cases = list_cases("int8")
    assert len({case.name for case in cases}) == len(cases)
    promised = {case.name: case.at_least for case in cases if case.at_least}
    assert promised == {
        "small/fp32/streams-1/threads-1": 70,
        "small/int8/streams-1/threads-1": 100,
        "standard/fp32/streams-1/threads-1": 6.5,
        "standard/int8/streams-1/threads-1": 60,
        "standard/int8/streams-16/threads-1": 120,
        "standard/int8/streams-32/threads-2": 250,
    }
    assert "small/fp32/streams-1/threads-1" in {case.name for case in list_cases("fp32")}


def test_rates_stand_beside_plain_torch_and_real_time():
    case = Case("small", "fp32", at_least=70)
    plain, *real = compare_with_plain([case], {"small": 1000.0, case.name: 80_000.0}, judged=True)
    assert (plain.ratio, plain.met) == (80, True)
    assert [result.ratio for result in real] == pytest.approx([5, 3.628, 1.814], abs=1e-3)
    assert next(iter(compare_with_plain([case], {"small": 1e3, case.name: 1e3}, judged=False))).met is None


def test_shares_of_bandwidth_are_of_the_weights_that_a_sample_needs_and_of_those_it_reads():
    case = Case("small", "fp32")
    needed, read = compare_with_memory([case], {case.name: 100_000.0}, dict.fromkeys(CACHES, 2e11), "fp32")
    assert needed.value == pytest.approx(1e5 * 4 * 233_472, rel=0.01)
    assert needed.case.endswith("of-L2")
    past_taps, spans = 20 * 32 * 64, [1, 2, 4, 8, 16, 16, 16, 16, 16, 16]
    spared = past_taps * (1 - sum(1 / span for span in spans) / len(spans))
    assert needed.value - read.value == pytest.approx(1e5 * 4 * spared)
    assert read.case.endswith("of-L2/read")
    assert (needed.at_least, read.at_least) == (0.65, None)


def test_the_first_samples_wait_for_the_compiler_and_later_ones_do_not(monkeypatch):
    monkeypatch.setattr(generation, "NETWORKS", {"small": TINY})
    first, cached = generation.measure_first_use(processor.list_precisions()[-1])
    assert cached.value < first.value / 3
