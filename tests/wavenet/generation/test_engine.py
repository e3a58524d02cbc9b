"""The compiled kernel against the plain oracle, and what the engine promises of a stream."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch

from wavenet.config import ModelConfig
from wavenet.errors import ConfigError, IncompatibleDataError
from wavenet.generation.engine import generate
from wavenet.generation.kernels import cpu
from wavenet.generation.reference import CachedWaveNet, generate_codes
from wavenet.generation.sampling import choose_codes, draw_uniforms
from wavenet.model.wavenet import WaveNet


class UnevenConfig(ModelConfig):
    """Dilations that are no powers of two."""

    @property
    def dilations(self) -> list[int]:
        return [3, 1, 5, 2]


def widths(residual: int, gate: int, skip: int) -> dict:
    return {"residual_channels": residual, "gate_channels": gate, "skip_channels": skip}


SHAPES = {  # levels, network
    "kernel 2": (64, ModelConfig(dilation_cycle=5, num_cycles=2, **widths(16, 16, 32))),
    "kernel 3": (256, ModelConfig(kernel_size=3, dilation_cycle=4, num_cycles=2, **widths(16, 16, 32))),
    "kernel 2, odd widths": (300, ModelConfig(dilation_cycle=3, num_cycles=1, **widths(7, 5, 9))),
    "kernel 3, odd dilations": (100, UnevenConfig(kernel_size=3, **widths(6, 11, 13))),
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


def distance_to_boundary(model: WaveNet, codes: np.ndarray, uniform: float) -> float:
    """How far a draw lies from where the choice after codes would change."""
    with torch.no_grad():
        logits = model(torch.from_numpy(codes[None, -model.receptive_field :]))[0, :, -1].double()
    boundaries = torch.softmax(logits, 0).cumsum(0).numpy()
    return float(np.abs(boundaries - uniform).min())


@pytest.mark.parametrize("shape", SHAPES)
def test_numba_codes_equal_reference_codes(shape: str) -> None:
    model = make_model(*SHAPES[shape])
    context, uniforms = make_context(model), draw_uniforms(2000, 1, seed=3)
    expected = np.concatenate(list(generate_codes(model, context, uniforms)))
    codes = join(generate(model, context, 2000, seed=3, backend="numba"))[0]
    assert len(np.unique(codes)) > 10, "the models of this test should have something to choose from"
    if (codes != expected).any():  # allowed only where rounding decides
        parting = int((codes != expected).argmax())
        before = np.concatenate([context[0], expected[:parting]])
        assert distance_to_boundary(model, before, uniforms[parting, 0]) < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_logits_equal_the_whole_forward(shape: str) -> None:
    model = make_model(*SHAPES[shape])
    past = model.receptive_field
    codes = make_context(model, spare=500)[0]
    weights = cpu.pack_weights(model)
    state = cpu.begin_stream(model, weights, codes[:past])
    logits = [state.logits.copy()]
    for code in codes[past:]:
        cpu.take_sample(weights, state, code)
        logits.append(state.logits.copy())
    with torch.no_grad():
        expected = model(torch.from_numpy(codes[None]))[0].T.numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


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


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_block_size_does_not_change_the_codes(backend: str) -> None:
    model = make_model(*SMALL)
    context = make_context(model, num_streams=2)
    whole = join(generate(model, context, 300, backend=backend, block=1000))
    for block in (1, 7, 100):
        blocks = list(generate(model, context, 300, backend=backend, block=block))
        assert {part.shape[1] for part in blocks[:-1]} == {block}
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_other_streams_do_not_change_a_stream(backend: str) -> None:
    model = make_model(*SMALL)
    context = make_context(model, num_streams=5)
    together = join(generate(model, context, 300, backend=backend))
    alone = join(generate(model, context[:1], 300, backend=backend))
    np.testing.assert_array_equal(together[:1], alone)
    assert len({stream.tobytes() for stream in together}) == 5


def test_threads_do_not_change_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(*SMALL)
    context = make_context(model, num_streams=4)
    takes = []
    for num_threads in (1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=num_threads: n)
        takes.append(join(generate(model, context, 500, block=50)))
    np.testing.assert_array_equal(*takes)


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


def test_packed_weights_do_not_follow_the_model() -> None:
    model = make_model(*SMALL)
    weights = cpu.pack_weights(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(np.abs(array).max() > 0 for array in weights)


def test_cached_state_is_the_oracles() -> None:
    model = make_model(*SMALL)
    context = make_context(model)
    state = cpu.begin_stream(model, cpu.pack_weights(model), context[0])
    cache = CachedWaveNet(model, context)
    np.testing.assert_array_equal(state.logits, cache.logits[0])
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
