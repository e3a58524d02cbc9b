"""The compiled kernel against the plain oracle, and what the engine promises of a stream."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.wavenet.model.variants import VARIANTS, make_condition, make_variant
from wavenet.config import ModelConfig
from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.generation.engine import generate
from wavenet.generation.kernels import cpu
from wavenet.generation.reference import CachedWaveNet, GuidedWaveNet, generate_codes
from wavenet.generation.sampling import choose_codes, choose_logistic_codes, choose_next, draw_uniforms
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


def join(blocks: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(blocks), axis=1)


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


@pytest.mark.parametrize("shape", SHAPES)
def test_numba_codes_equal_reference_codes(shape: str) -> None:
    model = make_model(*SHAPES[shape])
    context, uniforms = make_context(model), draw_uniforms(2000, 1, seed=3)
    codes = join(generate(model, context, 2000, seed=3, backend="numba"))[0]
    assert len(np.unique(codes)) > 10, "the models of this test should have something to choose from"
    assert_same_choices(model, GuidedWaveNet(model, context), uniforms[:, 0], codes)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("variant", VARIANTS)
def test_numba_codes_equal_reference_codes_for_every_kind_of_network(variant: str, guidance: float) -> None:
    model = make_variant(variant).eval()
    context, uniforms = make_context(model), draw_uniforms(400, 1, seed=3)
    told = tell(model, context, 400)
    codes = join(generate(model, context, 400, condition=told, guidance=guidance, seed=3, backend="numba"))[0]
    assert len(np.unique(codes)) > 10, "the models of this test should have something to choose from"
    assert_same_choices(model, GuidedWaveNet(model, context, told, guidance), uniforms[:, 0], codes)


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("variant", ["logistics", "labels and features", "all at once"])
def test_what_is_played_is_drawn_from_the_whole_forward(variant: str, backend: str) -> None:
    model = make_variant(variant).eval()
    context, uniforms = make_context(model, num_streams=2), draw_uniforms(200, 2, seed=3)
    told = tell(model, context, 200)
    codes = join(generate(model, context, 200, condition=told, seed=3, backend=backend))
    heard = torch.from_numpy(np.concatenate([context, codes[:, :-1]], axis=1))
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


@pytest.mark.parametrize("name", NETWORKS)
def test_kernel_outputs_equal_the_whole_forward(name: str) -> None:
    model = NETWORKS[name]
    past = model.receptive_field
    context = make_context(model, spare=300)
    told = tell(model, context, 1)
    weights = cpu.pack_weights(model)
    state = cpu.begin_stream(model, weights, context[0, :past], told)
    outputs = [state.outputs.copy()]
    for code in context[0, past:]:
        cpu.take_sample(weights, state, code)
        outputs.append(state.outputs.copy())
    with torch.no_grad():
        expected = model(torch.from_numpy(context), told)[0].T.numpy()
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-4)


def test_kernel_chooses_as_sampling_does() -> None:
    rng = np.random.default_rng(0)
    logits = (4 * rng.standard_normal((500, 64))).astype(np.float32)
    uniforms = np.concatenate([rng.random(498), [0.0, np.nextafter(1.0, 0.0)]])
    for temperature in (0.1, 1.0, 3.0):
        chosen = [
            cpu.choose_code(row, uniform, temperature, np.empty(64))
            for row, uniform in zip(logits, uniforms, strict=True)
        ]
        np.testing.assert_array_equal(chosen, choose_codes(logits, uniforms, temperature))


@pytest.mark.parametrize("levels", [2, 256, 65536])
def test_kernel_chooses_from_a_mixture_as_sampling_does(levels: int) -> None:
    rng = np.random.default_rng(0)
    parts = rng.normal(0, 2, (500, 5)), rng.uniform(-1.2, 1.2, (500, 5)), rng.uniform(-14, 1, (500, 5))
    outputs = np.concatenate(parts, axis=1).astype(np.float32)
    uniforms = np.concatenate([rng.random(498), [0.0, np.nextafter(1.0, 0.0)]])
    for temperature in (0.1, 1.0, 3.0):
        chosen = [
            cpu.choose_logistic_code(row, uniform, levels, temperature, np.empty(15))
            for row, uniform in zip(outputs, uniforms, strict=True)
        ]
        np.testing.assert_array_equal(chosen, choose_logistic_codes(outputs, uniforms, levels, temperature))


def test_kernel_gates_equal_numpy() -> None:
    x = np.linspace(-30, 30, 20001, dtype=np.float32)
    tanh = np.array([cpu.tanh(value) for value in x])
    sigmoid = np.array([cpu.sigmoid(value) for value in x])
    exact = x.astype(np.float64)
    np.testing.assert_allclose(tanh, np.tanh(exact), rtol=0, atol=5e-7)
    np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-exact)), rtol=0, atol=5e-7)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_each_stream_plays_from_its_own_context_and_uniforms(backend: str) -> None:
    model = make_model(*SMALL)
    contexts, uniforms = make_context(model, num_streams=3), draw_uniforms(100, 3, seed=3)
    contexts[2] = contexts[1]
    codes = join(generate(model, contexts, 100, seed=3, backend=backend))
    for stream in range(3):
        own = slice(stream, stream + 1)
        expected = np.stack(list(generate_codes(model, contexts[own], uniforms[:, own])), axis=1)
        np.testing.assert_array_equal(codes[own], expected)


# The plain one, and one that is told, guided and draws from a mixture.
PLAYERS = {"plain": (NETWORKS["kernel 2"], 1.0), "guided": (NETWORKS["variant: all at once"], 2.0)}


def play(player: str, num_streams: int, chosen: int, num_samples: int = 120, **options) -> list[np.ndarray]:
    """Blocks of the first of num_streams; a stream has its context and condition however many play."""
    model, guidance = PLAYERS[player]
    context = make_context(model, num_streams)
    told = tell(model, context, num_samples)
    if told is not None:
        told = told.select(slice(chosen))
    return list(generate(model, context[:chosen], num_samples, condition=told, guidance=guidance, **options))


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("player", PLAYERS)
def test_block_size_does_not_change_the_codes(player: str, backend: str) -> None:
    (whole,) = play(player, 2, 2, backend=backend, block=1000)
    for block in (1, 7, 50):
        blocks = play(player, 2, 2, backend=backend, block=block)
        assert {part.shape[1] for part in blocks[:-1]} == {block}
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("player", PLAYERS)
def test_other_streams_do_not_change_a_stream(player: str, backend: str) -> None:
    (together,) = play(player, 5, 5, backend=backend)
    for chosen in (1, 3):
        (fewer,) = play(player, 5, chosen, backend=backend)
        np.testing.assert_array_equal(together[:chosen], fewer)
    assert len({stream.tobytes() for stream in together}) == 5


@pytest.mark.parametrize("player", PLAYERS)
def test_threads_do_not_change_a_stream(player: str, monkeypatch: pytest.MonkeyPatch) -> None:
    takes = []
    for num_threads in (1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=num_threads: n)
        takes.append(np.concatenate(play(player, 4, 4, 500, block=50), axis=1))
    np.testing.assert_array_equal(*takes)


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("variant", ["labels and features", "all at once"])
def test_guidance_1_is_as_told_and_0_as_if_told_nothing(variant: str, backend: str) -> None:
    model = make_variant(variant).eval()
    context = make_context(model, num_streams=2)
    told = tell(model, context, 100)

    def take(condition: Condition | None, **options: float) -> np.ndarray:
        return join(generate(model, context, 100, condition=condition, backend=backend, **options))

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
            join(
                generate(
                    model, context, 300, seed=seed, condition=Condition(told.labels, frames, told.frame_index)
                )
            )
            for frames in (told.frames, changed)
        )
        parting.append(int((one != other).argmax()) if (one != other).any() else 300)
    assert min(parting) == first


def test_same_seed_plays_the_same_and_another_does_not() -> None:
    model = make_model(*SMALL)
    context = make_context(model, num_streams=2)
    first, again, other = (join(generate(model, context, 300, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=1).all()


def test_only_the_receptive_field_of_the_context_counts() -> None:
    model = make_model(*SMALL)
    context = make_context(model, spare=50)
    longer, shorter = (join(generate(model, part, 300)) for part in (context, context[:, 50:]))
    np.testing.assert_array_equal(longer, shorter)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_lower_temperature_lowers_the_entropy(backend: str) -> None:
    model = make_model(*SMALL)
    entropies = []
    for temperature in (2.0, 1.0, 0.3):
        codes = join(generate(model, make_context(model), 1000, temperature=temperature, backend=backend))
        share = np.bincount(codes[0]) / codes.size
        entropies.append(-np.sum(share[share > 0] * np.log2(share[share > 0])))
    assert all(lower < higher - 0.2 for higher, lower in pairwise(entropies)), entropies


@pytest.mark.parametrize(("shape", "dtype"), [("kernel 3", np.uint8), ("kernel 2, odd widths", np.uint16)])
def test_codes_have_the_type_of_their_levels(shape: str, dtype: type) -> None:
    model = make_model(*SHAPES[shape])
    (codes,) = generate(model, make_context(model), 200)
    assert codes.dtype == dtype
    assert codes.max() < model.quantization_channels


def test_diverged_weights_give_codes_in_range() -> None:
    model = make_model(*SMALL)
    with torch.no_grad():
        model.layers[0].dilated.weight[:] = float("nan")
    codes = join(generate(model, make_context(model), 200))
    assert codes.max() < model.quantization_channels


def test_diverged_mixtures_give_codes_in_range() -> None:
    model = make_variant("logistics").eval()
    for value in (float("nan"), 1e30):
        with torch.no_grad():
            model.head.logits.weight[:] = value
        codes = join(generate(model, make_context(model), 200))
        assert codes.max() < model.quantization_channels


@pytest.mark.parametrize("variant", ["labels and features", "all at once"])
def test_packed_weights_do_not_follow_the_model(variant: str) -> None:
    model = make_variant(variant).eval()
    weights = cpu.pack_weights(model)
    before = [np.copy(field) for field in weights]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    for field, copy in zip(weights, before, strict=True):
        np.testing.assert_array_equal(field, copy)
    assert (cpu.pack_weights(model).dilated != weights.dilated).any()


def test_cached_state_is_the_oracles() -> None:
    model = make_model(*SMALL)
    context = make_context(model)
    state = cpu.begin_stream(model, cpu.pack_weights(model), context[0])
    cache = CachedWaveNet(model, context)
    np.testing.assert_array_equal(state.outputs, cache.outputs[0])
    np.testing.assert_array_equal(state.queues, np.concatenate([queue[:, 0] for queue in cache.queues]))


def test_too_short_a_context_is_refused_at_once() -> None:
    model = make_model(*SMALL)
    short = np.zeros((2, model.receptive_field - 1), np.uint8)
    with pytest.raises(IncompatibleDataError, match=r"shape \(2, 62\).*at least 63 codes"):
        generate(model, short, 10)


def test_unknown_backend_and_bad_temperature_are_refused_at_once() -> None:
    model = make_model(*SMALL)
    with pytest.raises(ConfigError, match="backend 'triton' is unknown; expected auto, numba, reference"):
        generate(model, make_context(model), 10, backend="triton")
    with pytest.raises(ConfigError, match="temperature is 0"):
        generate(model, make_context(model), 10, temperature=0)


def test_a_condition_or_guidance_that_does_not_fit_is_refused_at_once() -> None:
    model = make_variant("labels and features").eval()
    context = make_context(model)
    for samples in (9, 11):
        with pytest.raises(IncompatibleDataError, match=r"frame_index have shape .*; expected \(1, 43\)"):
            generate(model, context, 10, condition=tell(model, context, samples))
    with pytest.raises(ConfigError, match="guidance is -1"):
        generate(model, context, 10, guidance=-1)
