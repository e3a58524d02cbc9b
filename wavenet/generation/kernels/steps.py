"""Cached generation, compiled: some streams side by side, one sample of each a step.

Does what `wavenet.generation.reference` does, from packed copies of the weights. Knows nothing of files,
seeds or threads: uniforms come in, codes go out, and the GIL is released meanwhile. The invariants: a
stream's samples do not depend on what streams lie beside it, nor on where blocks and spans begin; nothing
is read or written out of bounds, even where weights are NaN.

Two things are done out of their turn, so that one stream waits less for its weights. What a layer's past
taps give is known for a span of steps beforehand (as many as its dilation), and made for all of them at
once. And what a layer gives to the skips is made after the next layer's gates, which do not need it: the
processor reads its weights while those are still being opened.

numba's disk cache notices a change in the file of the function that is called, here, and in no other: after
a change in the modules beside this one, touch it.
"""

import numpy as np

from wavenet.compiled import FUSED, compile_loop, compile_part, gate
from wavenet.generation.kernels.choice import choose_code, choose_logistic_code
from wavenet.generation.kernels.matrices import FLOAT_BYTES, multiply, store
from wavenet.generation.kernels.vectors import add_floats, copy_floats, floats_at

ZERO = np.float32(0)


@compile_loop()
def generate_block(  # type: ignore[no-untyped-def]
    network, streams, guidance, uniforms, temperature, top_k, top_p, codes
):
    """Go on by one sample a uniform and write the codes, both (streams, samples).

    Streams may be twice as many as uniforms: then the second half is told nothing, plays what the first
    plays, and guides it (`GuidedWaveNet`).
    """
    count, levels = len(uniforms), network.embedding.shape[0]
    chosen = np.zeros(len(streams.sums), np.int64)
    for t in range(uniforms.shape[1]):
        for row in range(count):
            guide(network, streams, row, count, guidance)
            if network.num_mixtures > 0:
                code = choose_logistic_code(
                    streams.guided, uniforms[row, t], levels, temperature, network.num_mixtures, streams.room
                )
            else:
                code = choose_code(
                    streams.guided, uniforms[row, t], temperature, top_k, top_p, levels, streams.room
                )
            codes[row, t] = chosen[row] = code
            if len(chosen) > count:
                chosen[count + row] = code
        take_samples(network, streams, chosen)


@compile_loop()
def score_block(network, streams, codes, outputs):  # type: ignore[no-untyped-def]
    """Take given codes, (streams, samples), and keep what was said of each, (samples, streams, outputs)."""
    taken = np.zeros(len(codes), np.int64)
    for t in range(codes.shape[1]):
        for row in range(len(codes)):
            taken[row] = codes[row, t]
            for i in range(network.num_outputs):
                outputs[t, row, i] = streams.outputs[row, i]
        take_samples(network, streams, taken)


@compile_loop()
def hear_codes(network, streams, codes):  # type: ignore[no-untyped-def]
    """Take given codes, (streams, samples)."""
    taken = np.zeros(len(codes), np.int64)
    for t in range(codes.shape[1]):
        for row in range(len(codes)):
            taken[row] = codes[row, t]
        take_samples(network, streams, taken)


@compile_part(inline=True)
def guide(network, streams, row, count, guidance):  # type: ignore[no-untyped-def]
    """Leave in `guided` the outputs of one stream: `GuidedWaveNet.outputs`."""
    guiding = row + len(streams.outputs) - count  # itself, where nobody guides
    for i in range(network.num_outputs):
        told, nothing = streams.outputs[row, i], streams.outputs[guiding, i]
        streams.guided[i] = nothing + guidance * (told - nothing)


@compile_part(inline=True)
def hear_condition(network, streams, row, frame):  # type: ignore[no-untyped-def]
    """Leave in `told` what is added to all layers' gates of a stream while samples lie in this frame."""
    store(streams.heard, 0, 0, streams.encoded[row], frame)
    for layer in range(len(network.dilations)):
        for i in range(network.dilated_bias.shape[1]):
            streams.told[row, layer, i] = network.dilated_bias[layer, i]
        multiply(network.condition, layer, streams.heard, 0, streams.told[row, layer : layer + 1])
    streams.frame[row] = frame


@compile_part(FUSED)
def open_gates(gates, told, opened, width):  # type: ignore[no-untyped-def]
    """tanh of the left half times sigmoid of the right. Addresses of rows."""
    values, more, activated = floats_at(gates), floats_at(told), floats_at(opened)
    for i in range(width):
        activated[i] = gate(values[i] + more[i], values[width + i] + more[width + i])


@compile_part()
def rectify(target, source, width):  # type: ignore[no-untyped-def]
    """Addresses of rows."""
    into, values = floats_at(target), floats_at(source)
    for i in range(width):
        into[i] = max(values[i], ZERO)


@compile_part(inline=True)
def address(rows, row):  # type: ignore[no-untyped-def]
    return rows.ctypes.data + row * rows.strides[0]


@compile_part()
def take_samples(network, streams, codes):  # type: ignore[no-untyped-def]
    """Take the next sample of each stream and leave in `outputs` what is said of the one after."""
    position, num_layers = streams.position[0], len(network.dilations)
    streams.position[0] += 1
    for row in range(len(codes)):
        enter(network, streams, row, codes[row], position)
    for layer in range(num_layers + 1):
        if layer < num_layers:
            activate(network, streams, layer, position)
        if layer > 0:
            give_skips(network, streams, layer - 1)
        if layer < num_layers - 1:
            go_on(network, streams, layer)
    conclude(network, streams)


@compile_part(inline=True)
def enter(network, streams, row, code, position):  # type: ignore[no-untyped-def]
    """Begin a stream's sums with what its code becomes, and hear what is told from here on."""
    copy_floats(address(streams.sums, row), address(network.embedding, code), streams.sums.shape[1])
    copy_floats(address(streams.skipped, row), address(network.skip_bias, 0), streams.skipped.shape[1])
    frame = streams.frame_index[row, min(position, streams.frame_index.shape[1] - 1)]
    if frame != streams.frame[row]:
        hear_condition(network, streams, row, frame)


@compile_part(inline=True)
def activate(network, streams, layer, position):  # type: ignore[no-untyped-def]
    """From all streams' sums, a layer's inputs, to what its gates let through."""
    count, newest = len(streams.sums), network.num_taps - 1
    start, end = streams.queue_starts[layer], streams.queue_starts[layer + 1]
    place = start + position % (end - start)
    for row in range(count):
        store(streams.queues, place, row, streams.sums, row)
    begin, span = streams.gate_starts[layer], streams.gate_starts[layer + 1] - streams.gate_starts[layer]
    step = position % span
    if step == 0:
        look_back(network, streams, layer, position)
    gates = streams.gates[(begin + step) * count : (begin + step + 1) * count]
    multiply(network.dilated, layer * network.num_taps + newest, streams.queues, place, gates)
    for row in range(count):
        told = address(streams.told[row], layer)
        open_gates(address(gates, row), told, address(streams.opened, row), network.num_gates)
        store(streams.activated, layer % 2, row, streams.opened, row)


@compile_part(inline=True)
def look_back(network, streams, layer, position):  # type: ignore[no-untyped-def]
    """Leave in a layer's gates what its past taps give them in each step of the span that begins here."""
    count, newest = len(streams.sums), network.num_taps - 1
    start, length = streams.queue_starts[layer], streams.queue_starts[layer + 1] - streams.queue_starts[layer]
    first, last = streams.gate_starts[layer] * count, streams.gate_starts[layer + 1] * count
    for row in range(first, last):
        for i in range(streams.gates.shape[1]):
            streams.gates[row, i] = ZERO
    for tap in range(newest):
        place = (position + length - (newest - tap) * network.dilations[layer]) % length
        border = min(last, first + (length - place) * count)  # where the ring begins again
        which = layer * network.num_taps + tap
        multiply(network.dilated, which, streams.queues, start + place, streams.gates[first:border])
        multiply(network.dilated, which, streams.queues, start, streams.gates[border:last])


@compile_part(inline=True)
def give_skips(network, streams, layer):  # type: ignore[no-untyped-def]
    """Add to the skips what a layer let through; where the head hears them, begin others."""
    multiply(network.skip, layer, streams.activated, layer % 2, streams.skipped)
    slot, width = network.slots[layer], network.num_skips
    if slot >= 0:
        then = min(slot + 1, len(network.skip_bias) - 1)
        for row in range(len(streams.skipped)):
            skipped = address(streams.skipped, row)
            rectify(address(streams.rectified, row) + FLOAT_BYTES * slot * width, skipped, width)
            copy_floats(skipped, address(network.skip_bias, then), streams.skipped.shape[1])


@compile_part(inline=True)
def go_on(network, streams, layer):  # type: ignore[no-untyped-def]
    """Add to all streams' sums what a layer let through: the next one's inputs."""
    for row in range(len(streams.sums)):
        add_floats(address(streams.sums, row), address(network.residual_bias, layer), streams.sums.shape[1])
    multiply(network.residual, layer, streams.activated, layer % 2, streams.sums)


@compile_part(inline=True)
def conclude(network, streams):  # type: ignore[no-untyped-def]
    """From the rectified skips of all streams to their outputs."""
    head, outputs = streams.head, streams.outputs
    for row in range(len(head)):
        store(streams.skips, 0, row, streams.rectified, row)
        copy_floats(address(head, row), address(network.hidden_bias, 0), head.shape[1])
    multiply(network.hidden, 0, streams.skips, 0, head)
    for row in range(len(head)):
        rectify(address(head, row), address(head, row), head.shape[1])
        store(streams.hidden, 0, row, head, row)
        copy_floats(address(outputs, row), address(network.logits_bias, 0), outputs.shape[1])
    multiply(network.logits, 0, streams.hidden, 0, outputs)
