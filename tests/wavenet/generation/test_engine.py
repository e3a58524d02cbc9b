"""The compiled kernel against the plain oracle, and what the engine promises of a stream."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tests.wavenet.model.variants import VARIANTS, make_condition, make_variant
from wavenet.compiled import gate, sigmoid, tanh
from wavenet.config import ModelConfig
from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.generation import processor
from wavenet.generation.engine import Player, generate, generate_blocks
from wavenet.generation.kernels import streams
from wavenet.generation.kernels.band import begin_band
from wavenet.generation.kernels.choice import choose_code, choose_logistic_code, exp, make_room
from wavenet.generation.kernels.network import pack_network
from wavenet.generation.kernels.streams import plan_spans
from wavenet.generation.reference import GuidedWaveNet, generate_codes
from wavenet.generation.sampling import (
    Choice,
    choose_codes,
    choose_logistic_codes,
    choose_next,
    draw_uniforms,
)
from wavenet.model.conditioning import Condition
from wavenet.model.outputs import negative_log_likelihood
from wavenet.model.wavenet import WaveNet


def widths(residual: int, gate: int, skip: int) -> dict:
    return {"residual_channels": residual, "gate_channels": gate, "skip_channels": skip}


SHAPES = {  # levels, network
    "kernel 2": (64, ModelConfig(dilation_cycle=5, num_cycles=2, **widths(16, 16, 32))),
    "kernel 3": (256, ModelConfig(kernel_size=3, dilation_cycle=4, num_cycles=2, **widths(16, 16, 32))),
    "kernel 2, odd widths": (300, ModelConfig(dilation_cycle=3, num_cycles=1, **widths(7, 5, 9))),
    "kernel 3, odd dilations": (
        100,
        ModelConfig(kernel_size=3, dilation_cycle=[3, 1, 5, 2], num_cycles=1, **widths(6, 11, 13)),
    ),
}
SMALL = SHAPES["kernel 2"]


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Networks this small are slower on several."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def make_model(levels: int, config: ModelConfig) -> WaveNet:
    """Random weights, scaled as training does: gates that saturate, peaked distributions."""
    torch.manual_seed(0)
    model = WaveNet(config, levels).eval()
    with torch.no_grad():
        for layer in model.layers:
            layer.dilated.weight *= 3
        codes = torch.randint(levels, (1, model.receptive_field + 200))
        model.head.logits.weight *= 4 / model(codes).std()
    return model


def make_context(model: WaveNet, num_streams: int = 1, spare: int = 3) -> np.ndarray:
    length = model.receptive_field + spare
    return np.random.default_rng(7).integers(0, model.quantization_channels, (num_streams, length))


def tell(model: WaveNet, context: np.ndarray, num_samples: int) -> Condition | None:
    """Something of all that the network can be told, other for each stream, for as long as it plays."""
    if not model.form:
        return None
    time = context.shape[1] + num_samples - 1
    return make_condition(model.form, len(context), time, torch.Generator().manual_seed(2))


def distance_to_boundary(model: WaveNet, network: GuidedWaveNet, uniform: float) -> float:
    """How far a draw lies from where a network's next choice would change."""
    every = torch.arange(model.quantization_channels)
    spread = torch.from_numpy(network.outputs[0]).double().expand(len(every), -1)
    nats = negative_log_likelihood(spread, every, model.config, len(every))
    boundaries = torch.exp(-nats).cumsum(0).numpy()
    return float(np.abs(boundaries - uniform).min())


def assert_same_choices(
    model: WaveNet,
    network: GuidedWaveNet,
    uniforms: np.ndarray,
    codes: np.ndarray,
) -> None:
    """Codes are those of the plain network at its start, or part from them where rounding decides."""
    for code, uniform in zip(codes, uniforms, strict=True):
        expected = choose_next(model, network.outputs, np.array([uniform]))
        if code != expected[0]:
            assert distance_to_boundary(model, network, uniform) < 1e-5
            return
        network.step(expected)


BACKENDS = {
    "plain loops": {"WAVEBAND_INSTRUCTIONS": "plain"},
    "vectors": {},
}
"""Settings of the processor under which fp32 is compiled."""


@pytest.fixture(params=BACKENDS)
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Player:
    """A player of compiled kernels in float32, by vectors and with fast instructions switched off."""
    for name, value in BACKENDS[request.param].items():
        monkeypatch.setenv(name, value)
    return Player()


@pytest.fixture(params=["compiled", "reference"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_codes_equal_reference_codes(shape: str, compiled: Player) -> None:
    model = make_model(*SHAPES[shape])
    context, uniforms = make_context(model), draw_uniforms(2000, 1, seed=3)
    codes = generate(model, context, 2000, seed=3, player=compiled)[0]
    assert len(np.unique(codes)) > 10, "the models of this test should have something to choose from"
    assert_same_choices(model, GuidedWaveNet(model, context), uniforms[:, 0], codes)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("variant", VARIANTS)
def test_compiled_codes_equal_reference_codes_for_every_kind_of_network(
    variant: str, guidance: float, compiled: Player
) -> None:
    model = make_variant(variant).eval()
    context, uniforms = make_context(model), draw_uniforms(400, 1, seed=3)
    told = tell(model, context, 400)
    player = replace(compiled, guidance=guidance)
    codes = generate(model, context, 400, condition=told, seed=3, player=player)[0]
    assert len(np.unique(codes)) > 10, "the models of this test should have something to choose from"
    assert_same_choices(model, GuidedWaveNet(model, context, told, guidance), uniforms[:, 0], codes)


@pytest.mark.parametrize("variant", ["logistics", "labels and features", "all at once"])
def test_what_is_played_is_drawn_from_the_whole_forward(variant: str, backend: str) -> None:
    model = make_variant(variant).eval()
    context, uniforms = make_context(model, num_streams=2), draw_uniforms(200, 2, seed=3)
    told = tell(model, context, 200)
    codes = generate(model, context, 200, condition=told, seed=3, player=Player(backend=backend))
    heard = torch.from_numpy(np.concatenate([context, codes[:, :-1]], axis=1).astype(np.int64))
    with torch.no_grad():
        outputs = model(heard, told)[:, :, 3:].numpy()  # 3 codes more than the receptive field
    expected = [choose_next(model, outputs[:, :, t], uniforms[t]) for t in range(200)]
    assert (codes != np.stack(expected, axis=1)).mean() < 0.01  # where rounding decides


def make_networks() -> Iterator[tuple[str, WaveNet]]:
    for name, shape in SHAPES.items():
        yield name, make_model(*shape)
    for name in VARIANTS:
        yield f"variant: {name}", make_variant(name).eval()


NETWORKS = dict(make_networks())
TOLERANCES = {"fp32": 1e-4, "bf16": 0.01, "int8": 0.03}
"""Of the standard deviation of logits of random networks, where it is above 1."""


def said(model: WaveNet, precision: str, num_streams: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """What a kernel and the whole forward say of 300 given codes, (samples, streams, outputs)."""
    past = model.receptive_field
    codes = make_context(model, num_streams, spare=300)
    told = tell(model, codes, 1)
    (part,) = begin_band(model, codes[:, :past], told, 1.0, precision, 1)
    outputs = part.score(codes[:, past:])
    with torch.no_grad():
        expected = model(torch.from_numpy(codes), told)[:, :, :-1].permute(2, 0, 1).numpy()
    return outputs, expected


@pytest.mark.parametrize("name", NETWORKS)
def test_kernel_outputs_equal_the_whole_forward(name: str, compiled: Player) -> None:
    outputs, expected = said(NETWORKS[name], compiled.precision)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("name", NETWORKS)
def test_lower_precisions_say_nearly_the_same(name: str, precision: str) -> None:
    if precision not in processor.list_precisions():
        pytest.skip(f"no {precision} on this processor")
    outputs, expected = said(NETWORKS[name], precision, num_streams=5)
    error = np.sqrt(np.square(outputs - expected).mean())
    assert 0 < error < TOLERANCES[precision] * max(1, expected.std())


def score_streams(model: WaveNet, precision: str, codes: np.ndarray, told: Condition | None) -> np.ndarray:
    """What a kernel says of the codes behind the receptive field, (samples, streams, outputs)."""
    (part,) = begin_band(model, codes[:, : model.receptive_field], told, 1.0, precision, 1)
    return part.score(codes[:, model.receptive_field :])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("num_streams", [2, 4, 5, 9])
@pytest.mark.parametrize("name", ["variant: all at once", "kernel 2, odd widths"])  # few columns and many
def test_streams_that_share_weights_say_what_each_says_alone(
    name: str, precision: str, num_streams: int
) -> None:
    if precision not in processor.list_precisions():
        pytest.skip(f"no {precision} on this processor")
    model = NETWORKS[name]
    codes = make_context(model, num_streams, spare=40)
    told = tell(model, codes, 1)
    outputs = score_streams(model, precision, codes, told)
    for row in range(num_streams):
        own = slice(row, row + 1)
        alone = score_streams(model, precision, codes[own], told and told.select(own))
        np.testing.assert_array_equal(alone, outputs[:, own])


LOOKS_FAR = ModelConfig(kernel_size=3, dilation_cycle=[1, 37, 20, 64], num_cycles=1, **widths(12, 10, 20))
"""Dilations that spans fit into, and into whose rings they do not."""


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_for_how_many_steps_layers_look_back_does_not_change_what_is_said(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision not in processor.list_precisions():
        pytest.skip(f"no {precision} on this processor")
    model = make_model(200, LOOKS_FAR)
    codes = make_context(model, num_streams=2, spare=500)
    said_of = []
    for rows in (1, 7, 32, 1000):
        monkeypatch.setattr(streams, "SPAN_ROWS", rows)
        said_of.append(score_streams(model, precision, codes, None))
    for other in said_of[1:]:
        np.testing.assert_array_equal(other, said_of[0])


def test_layers_look_far_back_as_in_the_whole_forward(compiled: Player) -> None:
    outputs, expected = said(make_model(200, LOOKS_FAR), compiled.precision)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-4)


def test_no_layer_looks_back_for_more_steps_than_are_known() -> None:
    dilations = np.array([1, 2, 8, 512])
    assert plan_spans(dilations, 1) == [1, 2, 8, 16]
    assert plan_spans(dilations, 4) == [1, 2, 4, 4]
    assert plan_spans(dilations, 16) == plan_spans(dilations, 32) == [1, 1, 1, 1]


CHOICES = [
    Choice(),
    Choice(temperature=0.1),
    Choice(temperature=3.0),
    Choice(top_k=1),
    Choice(top_k=5),
    Choice(top_p=0.5),
    Choice(temperature=1.5, top_k=20, top_p=0.8),
]


@pytest.mark.parametrize("levels", [7, 64, 100])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_kernel_chooses_as_sampling_does(choice: Choice, levels: int) -> None:
    rng = np.random.default_rng(0)
    logits = (4 * rng.standard_normal((500, levels))).astype(np.float32) - 900
    logits[:50] = np.round(logits[:50])  # some are as likely as each other
    uniforms = np.concatenate([rng.random(498), [0.0, np.nextafter(1.0, 0.0)]])
    room = make_room(levels)
    chosen = [
        choose_code(row, uniform, choice.temperature, choice.top_k, choice.top_p, levels, room)
        for row, uniform in zip(logits, uniforms, strict=True)
    ]
    np.testing.assert_array_equal(chosen, choose_codes(logits, uniforms, choice))


@pytest.mark.parametrize("levels", [2, 256, 65536])
def test_kernel_chooses_from_a_mixture_as_sampling_does(levels: int) -> None:
    rng = np.random.default_rng(0)
    parts = rng.normal(0, 2, (500, 5)), rng.uniform(-1.2, 1.2, (500, 5)), rng.uniform(-14, 1, (500, 5))
    outputs = np.concatenate(parts, axis=1).astype(np.float32)
    uniforms = np.concatenate([rng.random(498), [0.0, np.nextafter(1.0, 0.0)]])
    for temperature in (0.1, 1.0, 3.0):
        chosen = [
            choose_logistic_code(row, uniform, levels, temperature, 5, make_room(15))
            for row, uniform in zip(outputs, uniforms, strict=True)
        ]
        np.testing.assert_array_equal(chosen, choose_logistic_codes(outputs, uniforms, levels, temperature))


def test_kernel_gates_and_powers_equal_numpy() -> None:
    x = np.linspace(-30, 30, 20001, dtype=np.float32)
    exact = x.astype(np.float64)
    np.testing.assert_allclose([tanh(value) for value in x], np.tanh(exact), rtol=0, atol=5e-7)
    np.testing.assert_allclose([sigmoid(value) for value in x], 1 / (1 + np.exp(-exact)), rtol=0, atol=5e-7)
    other = np.random.default_rng(0).permutation(x)
    gates = [gate(value, opening) for value, opening in zip(x, other, strict=True)]
    np.testing.assert_allclose(gates, np.tanh(exact) / (1 + np.exp(-other.astype(float))), rtol=0, atol=5e-7)
    powers = np.linspace(-699, 0, 20001)
    np.testing.assert_allclose([exp(power) for power in powers], np.exp(powers), rtol=3e-9)


def test_each_stream_plays_from_its_own_context_and_uniforms(backend: str) -> None:
    model = make_model(*SMALL)
    contexts, uniforms = make_context(model, num_streams=3), draw_uniforms(100, 3, seed=3)
    contexts[2] = contexts[1]
    codes = generate(model, contexts, 100, seed=3, player=Player(backend=backend))
    for stream in range(3):
        own = slice(stream, stream + 1)
        expected = np.stack(list(generate_codes(model, contexts[own], uniforms[:, own])), axis=1)
        np.testing.assert_array_equal(codes[own], expected)


# The plain one, and one that is told, guided and draws from a mixture.
PLAYERS = {"plain": (NETWORKS["kernel 2"], 1.0), "guided": (NETWORKS["variant: all at once"], 2.0)}


def play(
    player: str, num_streams: int, chosen: int, num_samples: int = 120, *, block: int = 4096, **how: Any
) -> list[np.ndarray]:
    """Blocks of the first of num_streams; a stream has its context and condition however many play."""
    model, guidance = PLAYERS[player]
    context = make_context(model, num_streams)
    told = tell(model, context, num_samples)
    if told is not None:
        told = told.select(slice(chosen))
    plays = Player(guidance=guidance, **how)
    return list(
        generate_blocks(model, context[:chosen], num_samples, condition=told, player=plays, block=block)
    )


@pytest.mark.parametrize("player", PLAYERS)
def test_block_size_does_not_change_the_codes(player: str, backend: str) -> None:
    (whole,) = play(player, 2, 2, backend=backend, block=1000)
    for block in (1, 7, 50):
        blocks = play(player, 2, 2, backend=backend, block=block)
        assert {part.shape[1] for part in blocks[:-1]} == {block}
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)


@pytest.mark.parametrize("player", PLAYERS)
def test_other_streams_do_not_change_a_stream(player: str, backend: str) -> None:
    (together,) = play(player, 5, 5, backend=backend)
    for chosen in (1, 3):
        (fewer,) = play(player, 5, chosen, backend=backend)
        np.testing.assert_array_equal(together[:chosen], fewer)
    assert len({stream.tobytes() for stream in together}) == 5


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("player", PLAYERS)
def test_threads_do_not_change_a_stream(player: str, precision: str) -> None:
    if precision not in processor.list_precisions():
        pytest.skip(f"no {precision} on this processor")
    one, *others = (
        np.concatenate(play(player, 5, 5, 500, block=50, threads=threads, precision=precision), axis=1)
        for threads in (1, 2, 4, 9)
    )
    for other in others:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize(
    "name", ["kernel 3", "kernel 2", "variant: all at once", "variant: skips side by side"]
)
def test_a_take_that_goes_on_from_its_own_end_plays_what_it_would_have_played(
    name: str, precision: str
) -> None:
    if precision not in processor.list_precisions():
        pytest.skip(f"no {precision} on this processor")
    model, player = NETWORKS[name], Player(precision=precision)
    context = make_context(model, num_streams=2)
    told = tell(model, context, 600)
    whole = generate(model, context, 600, condition=told, seed=4, player=player)
    for played in (1, 37, 300):
        heard = np.concatenate([context, whole[:, :played]], axis=1)
        rest = np.concatenate(
            list(
                generate_blocks(
                    model, heard, 600 - played, condition=told, seed=4, player=player, passed=played
                )
            ),
            axis=1,
        )
        np.testing.assert_array_equal(rest, whole[:, played:])


@pytest.mark.parametrize("variant", ["labels and features", "all at once"])
def test_guidance_1_is_as_told_and_0_as_if_told_nothing(variant: str, backend: str) -> None:
    model = make_variant(variant).eval()
    context = make_context(model, num_streams=2)
    told = tell(model, context, 100)

    def take(condition: Condition | None, guidance: float = 1.0) -> np.ndarray:
        player = Player(backend=backend, guidance=guidance)
        return generate(model, context, 100, condition=condition, player=player)

    as_told, nothing = take(told), take(None)
    np.testing.assert_array_equal(take(told, guidance=1), as_told)
    np.testing.assert_array_equal(take(told, guidance=0), nothing)
    np.testing.assert_array_equal(take(None, guidance=5), nothing)
    assert (as_told != nothing).any()
    assert (take(told, guidance=5) != as_told).any()


def test_what_is_told_of_a_frame_is_heard_from_the_first_sample_it_is_told_of() -> None:
    model = make_variant("labels and features").eval()
    context = make_context(model)
    told = tell(model, context, 300)
    assert told is not None
    changed = told.frames.clone()
    changed[:, -4:] += 100.0
    first = int((told.frame_index[0] >= changed.shape[1] - 4 - 2).nonzero()[0]) - context.shape[1] + 1
    parting = []
    for seed in range(20):
        one, other = (
            generate(
                model, context, 300, seed=seed, condition=Condition(told.labels, frames, told.frame_index)
            )
            for frames in (told.frames, changed)
        )
        parting.append(int((one != other).argmax()) if (one != other).any() else 300)
    assert min(parting) == first


def test_same_seed_plays_the_same_and_another_does_not() -> None:
    model = make_model(*SMALL)
    context = make_context(model, num_streams=2)
    first, again, other = (generate(model, context, 300, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=1).all()


def test_only_the_receptive_field_of_the_context_counts() -> None:
    model = make_model(*SMALL)
    context = make_context(model, spare=50)
    longer, shorter = (generate(model, part, 300) for part in (context, context[:, 50:]))
    np.testing.assert_array_equal(longer, shorter)


def test_lower_temperature_lowers_the_entropy(backend: str) -> None:
    model = make_model(*SMALL)
    entropies = []
    for temperature in (2.0, 1.0, 0.3):
        player = Player(Choice(temperature), backend=backend)
        codes = generate(model, make_context(model), 1000, player=player)
        share = np.bincount(codes[0]) / codes.size
        entropies.append(-np.sum(share[share > 0] * np.log2(share[share > 0])))
    assert all(lower < higher - 0.2 for higher, lower in pairwise(entropies)), entropies


def test_the_likeliest_level_alone_is_the_same_whatever_is_drawn(backend: str) -> None:
    model = make_model(*SMALL)
    player = Player(Choice(top_k=1), backend=backend)
    one, other = (generate(model, make_context(model), 100, seed=seed, player=player) for seed in (1, 2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("shape", "dtype"), [("kernel 3", np.uint8), ("kernel 2, odd widths", np.uint16)])
def test_codes_have_the_type_of_their_levels(shape: str, dtype: type) -> None:
    model = make_model(*SHAPES[shape])
    for num_samples in (200, 0):
        codes = generate(model, make_context(model), num_samples)
        assert codes.dtype == dtype
        assert codes.shape == (1, num_samples)
        assert codes.max(initial=0) < model.quantization_channels


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("choice", [Choice(), Choice(top_k=3, top_p=0.5)], ids=str)
def test_diverged_weights_give_codes_in_range(precision: str, choice: Choice) -> None:
    if precision not in processor.list_precisions():
        pytest.skip(f"no {precision} on this processor")
    model = make_model(*SMALL)
    with torch.no_grad():
        model.layers[0].dilated.weight[:] = float("nan")
    codes = generate(model, make_context(model), 200, player=Player(choice, precision=precision))
    assert codes.max() < model.quantization_channels


def test_diverged_mixtures_give_codes_in_range() -> None:
    model = make_variant("logistics").eval()
    for value in (float("nan"), 1e30):
        with torch.no_grad():
            model.head.logits.weight[:] = value
        codes = generate(model, make_context(model), 200)
        assert codes.max() < model.quantization_channels


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_packed_weights_do_not_follow_the_model(precision: str) -> None:
    model = make_variant("all at once").eval()
    network = pack_network(model, precision)
    before = [np.copy(part) for field in network for part in (field if isinstance(field, tuple) else [field])]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    after = [part for field in network for part in (field if isinstance(field, tuple) else [field])]
    for one, copy in zip(after, before, strict=True):
        np.testing.assert_array_equal(one, copy)
    assert (pack_network(model, precision).embedding != network.embedding).any()


def test_too_short_a_context_is_refused_at_once() -> None:
    model = make_model(*SMALL)
    short = np.zeros((2, model.receptive_field - 1), np.uint8)
    with pytest.raises(IncompatibleDataError, match=r"shape \(2, 62\).*at least 63 codes"):
        generate_blocks(model, short, 10)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Player(backend="triton"), "backend 'triton' is unknown; expected auto, compiled, reference"),
        (lambda: Player(precision="fp16"), "precision 'fp16' is unknown; expected fp32, bf16, int8"),
        (lambda: Player(guidance=-1), "guidance is -1"),
        (lambda: Choice(temperature=0), "temperature is 0"),
        (lambda: Choice(top_k=-1), "top_k is -1"),
        (lambda: Choice(top_p=0), "top_p is 0"),
    ],
)
def test_what_cannot_be_played_is_refused_at_once(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make()


def test_a_precision_without_instructions_names_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEBAND_INSTRUCTIONS", "plain")
    with pytest.raises(ConfigError, match=r"precision int8 has no fast instructions .*; use fp32"):
        Player(precision="int8")
    monkeypatch.setenv("WAVEBAND_INSTRUCTIONS", "turbo")
    with pytest.raises(ConfigError, match="WAVEBAND_INSTRUCTIONS is 'turbo'; expected auto, vectors, plain"):
        Player()


def test_levels_cannot_be_left_out_of_a_mixture() -> None:
    model = make_variant("logistics").eval()
    with pytest.raises(ConfigError, match="lower the temperature instead"):
        generate_blocks(model, make_context(model), 10, player=Player(Choice(top_k=4)))


def test_a_condition_that_does_not_fit_is_refused_at_once() -> None:
    model = make_variant("labels and features").eval()
    context = make_context(model)
    for samples in (9, 11):
        with pytest.raises(IncompatibleDataError, match=r"frame_index have shape .*; expected \(1, 43\)"):
            generate_blocks(model, context, 10, condition=tell(model, context, samples))
