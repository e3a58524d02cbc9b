"""Matrices as the kernel multiplies by them, in numbers of three sizes, and the rows that go in.

A set of matrices of one shape lies in blocks of 64 columns (the last may have 32), the columns of a block
together for each input, so that a product reads memory from its beginning to its end once. Knows nothing of
networks. The invariant: what a product adds to a row depends on that row and the matrix alone, and in
float32 it is the same in vectors as in plain loops, fused multiply-add aside.

- floats: float32.
- halves: weights in bfloat16, all else in float32.
- bytes: weights of each column as signed bytes with a scale, inputs of each row as unsigned bytes from the
  row's least value up, with a step of its own; sums are exact (VNNI).
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numba.extending import overload
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wavenet.compiled import FUSED, compile_part
from wavenet.generation.kernels import vectors

Floats = NDArray[np.float32]

BLOCK, LEAST_BLOCK = 64, 32
LANES = 16
FLOAT_BYTES, HALF_BYTES = 4, 2
INPUTS_A_STEP = 4  # of bytes
HIGHEST_SIGNED, HIGHEST = 127, 255
TINY = np.float32(1e-30)


class FloatMatrices(NamedTuple):
    """values: (count, inputs * columns) float32."""

    values: Floats
    num_inputs: int
    num_columns: int  # a multiple of LEAST_BLOCK


class PlainMatrices(NamedTuple):
    """The same values, multiplied by plain loops."""

    values: Floats
    num_inputs: int
    num_columns: int


class HalfMatrices(NamedTuple):
    """values: (count, inputs * columns / 2) pairs of bfloat16, of columns that lie 16 apart."""

    values: NDArray[np.uint32]
    num_inputs: int
    num_columns: int


class ByteMatrices(NamedTuple):
    """values: (count, inputs * columns) int8, four inputs of a column together; the rest (count, columns)."""

    values: NDArray[np.int8]
    num_inputs: int
    num_columns: int
    scales: Floats
    totals: Floats  # of the bytes of a column: what each unit of a row's least value adds


class FloatRows(NamedTuple):
    """What is multiplied: values (places, rows, inputs) float32."""

    values: Floats


class ByteRows(NamedTuple):
    """values (places, rows, inputs) uint8; scales (places, rows, 2): the step and the least value."""

    values: NDArray[np.uint8]
    scales: Floats


Matrices = FloatMatrices | PlainMatrices | HalfMatrices | ByteMatrices
Rows = FloatRows | ByteRows


def pack_matrices(weights: Tensor, precision: str, plain: bool = False) -> Matrices:
    """A set of matrices, (count, inputs, outputs), packed. plain: for plain loops, in float32."""
    weights = weights.detach().to("cpu", torch.float32)
    inputs = weights.shape[1] + -weights.shape[1] % INPUTS_A_STEP
    columns = weights.shape[2] + -weights.shape[2] % LEAST_BLOCK
    weights = F.pad(weights, (0, columns - weights.shape[2], 0, inputs - weights.shape[1]))
    if precision == "int8":
        return _pack_bytes(weights)
    if precision == "bf16":
        return HalfMatrices(align(_pair_halves(_to_blocks(weights))), inputs, columns)
    kind = PlainMatrices if plain else FloatMatrices
    return kind(align(_to_blocks(weights)), inputs, columns)


def _to_blocks(weights: Tensor) -> Tensor:
    """(count, inputs, columns) to (count, inputs * columns), block after block."""
    return torch.cat([block.flatten(1) for block in weights.split(BLOCK, dim=2)], dim=1)


def _pair_halves(values: Tensor) -> Tensor:
    """float32 to the bits of bfloat16, of each 32 values the upper 16 above the lower 16, as int32."""
    bits = values.to(torch.bfloat16).view(torch.int16).to(torch.int32) & 0xFFFF
    lower, upper = bits.unflatten(1, (-1, 2, LANES)).unbind(2)
    return (lower | upper << 16).flatten(1)


def _pack_bytes(weights: Tensor) -> ByteMatrices:
    scales = weights.abs().amax(1).clamp(min=float(TINY)) / HIGHEST_SIGNED
    values = (weights / scales[:, None]).round().to(torch.int8)
    blocks = [
        block.unflatten(1, (-1, INPUTS_A_STEP)).transpose(2, 3).flatten(1)
        for block in values.split(BLOCK, dim=2)
    ]
    columns = weights.shape[2]
    return ByteMatrices(
        align(torch.cat(blocks, 1)),
        weights.shape[1],
        columns,
        align(scales),
        align(values.sum(1, dtype=torch.float32)),
    )


def make_rows(places: int, rows: int, num_inputs: int, precision: str) -> Rows:
    """Rows that hold nothing yet, as wide as matrices of so many inputs take, and whole vectors."""
    width = num_inputs + -num_inputs % LEAST_BLOCK
    if precision != "int8":
        return FloatRows(torch.zeros(places, rows, width).numpy())
    values = torch.zeros(places, rows, width, dtype=torch.uint8)
    return ByteRows(values.numpy(), torch.zeros(places, rows, 2).numpy())


def align(tensor: Tensor) -> NDArray[Any]:
    """A copy that begins at a multiple of 64 bytes, which torch sees to and numpy does not."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format).numpy()


def store(rows, place, row, values, at):  # type: ignore[no-untyped-def]
    """Put values[at], float32 and as wide as the rows, into a row of a place, as those rows keep them."""
    raise NotImplementedError("compiled code alone calls this")


def multiply(matrices, which, rows, place, sums):  # type: ignore[no-untyped-def]
    """Add to sums, (rows, columns or more) float32, the products of the rows of a place with one matrix."""
    raise NotImplementedError("compiled code alone calls this")


# What is called takes addresses: an array is seven words and more, and a tuple of them takes longer to hand
# over than a row to multiply. What is inlined here makes addresses of arrays.


@overload(store, inline="always")
def _choose_store(rows, place, row, values, at):  # type: ignore[no-untyped-def]
    def run_floats(rows, place, row, values, at):  # type: ignore[no-untyped-def]
        target = rows.values.ctypes.data + place * rows.values.strides[0] + row * rows.values.strides[1]
        vectors.copy_floats(target, values.ctypes.data + at * values.strides[0], rows.values.shape[2])

    def run_bytes(rows, place, row, values, at):  # type: ignore[no-untyped-def]
        target = rows.values.ctypes.data + place * rows.values.strides[0] + row * rows.values.strides[1]
        scales = rows.scales.ctypes.data + place * rows.scales.strides[0] + row * rows.scales.strides[1]
        round_floats(target, scales, values.ctypes.data + at * values.strides[0], rows.values.shape[2])

    return run_bytes if rows.instance_class is ByteRows else run_floats


@compile_part(FUSED)
def round_floats(target, scales, source, count):  # type: ignore[no-untyped-def]
    """Floats as bytes from the least value, 0 or lower, to the greatest, 0 or higher."""
    scale = vectors.floats_at(scales)
    least, greatest = vectors.extremes(source, count)
    width = max(greatest - least, TINY)
    vectors.round_floats(target, source, count, least, np.float32(HIGHEST) / width)
    scale[0], scale[1] = width / np.float32(HIGHEST), least


@overload(multiply, inline="always")
def _choose_multiply(matrices, which, rows, place, sums):  # type: ignore[no-untyped-def]
    chosen = MULTIPLY[matrices.instance_class]

    def run_floats(matrices, which, rows, place, sums):  # type: ignore[no-untyped-def]
        chosen(
            matrices.values.ctypes.data + which * matrices.values.strides[0],
            matrices.num_inputs,
            matrices.num_columns,
            rows.values.ctypes.data + place * rows.values.strides[0],
            rows.values.strides[1],
            sums.ctypes.data,
            sums.strides[0],
            sums.shape[0],
            0,
            0,
            0,
        )

    def run_bytes(matrices, which, rows, place, sums):  # type: ignore[no-untyped-def]
        chosen(
            matrices.values.ctypes.data + which * matrices.values.strides[0],
            matrices.num_inputs,
            matrices.num_columns,
            rows.values.ctypes.data + place * rows.values.strides[0],
            rows.values.strides[1],
            sums.ctypes.data,
            sums.strides[0],
            sums.shape[0],
            matrices.scales.ctypes.data + which * matrices.scales.strides[0],
            matrices.totals.ctypes.data + which * matrices.totals.strides[0],
            rows.scales.ctypes.data + place * rows.scales.strides[0],
        )

    return run_bytes if matrices.instance_class is ByteMatrices else run_floats


@compile_part(FUSED)
def multiply_plainly(  # type: ignore[no-untyped-def]
    weights, num_inputs, num_columns, inputs, stride, sums, sums_stride, num_rows, scales, totals, row_scales
):
    """What all others do, as one reads it."""
    for row in range(num_rows):
        values = vectors.floats_at(weights)
        x, y = vectors.floats_at(inputs + row * stride), vectors.floats_at(sums + row * sums_stride)
        begin = 0
        for first in range(0, num_columns, BLOCK):
            width = min(BLOCK, num_columns - first)
            for k in range(num_inputs):
                for j in range(width):
                    y[first + j] += x[k] * values[begin + k * width + j]
            begin += num_inputs * width


def _make_multiply(item_bytes, tiles):  # type: ignore[no-untyped-def]
    """A product by tiles: blocks one after another, so that a block stays in the cache for all rows.

    Of one row two blocks at once: there are twice as many sums that do not wait for each other.
    """
    one_double, one_wide, one_narrow, four_wide, four_narrow = tiles
    group = vectors.BLOCK_ROWS

    @compile_part()
    def multiply_by_tiles(  # type: ignore[no-untyped-def]
        weights, num_inputs, num_columns, inputs, stride, sums, sums_stride, num_rows, scales, totals,
        row_scales,
    ):  # fmt: skip
        first, pair = 0, 2 * BLOCK
        while num_rows == 1 and num_columns - first >= pair:
            s, t = scales + 4 * first, totals + 4 * first
            one_double(sums + 4 * first, 0, weights, inputs, 0, num_inputs, s, t, row_scales)
            first, weights = first + pair, weights + num_inputs * pair * item_bytes
        while first < num_columns:
            wide = num_columns - first >= BLOCK
            row = 0
            y, x, s, t = sums + 4 * first, inputs, scales + 4 * first, totals + 4 * first
            while row < num_rows:
                many = num_rows - row >= group
                by_row = row_scales + 8 * row
                if many and wide:
                    four_wide(y, sums_stride, weights, x, stride, num_inputs, s, t, by_row)
                elif many:
                    four_narrow(y, sums_stride, weights, x, stride, num_inputs, s, t, by_row)
                elif wide:
                    one_wide(y, sums_stride, weights, x, stride, num_inputs, s, t, by_row)
                else:
                    one_narrow(y, sums_stride, weights, x, stride, num_inputs, s, t, by_row)
                step = group if many else 1
                row, y, x = row + step, y + step * sums_stride, x + step * stride
            first, weights = first + BLOCK, weights + num_inputs * BLOCK * item_bytes

    return multiply_by_tiles


MULTIPLY = {
    PlainMatrices: multiply_plainly,
    FloatMatrices: _make_multiply(FLOAT_BYTES, vectors.FLOAT_TILES),
    HalfMatrices: _make_multiply(HALF_BYTES, vectors.HALF_TILES),
    ByteMatrices: _make_multiply(1, vectors.BYTE_TILES),
}
