"""Products of a few rows with a block of columns, sixteen columns a vector, in LLVM's own words.

numba turns a plain loop into vector code, but keeps running sums in memory; here they stay in registers, and
weights of 16 and 8 bits are used as they lie in memory. LLVM makes of a vector of sixteen what the processor
has: AVX-512 takes it whole, AVX2 and NEON in parts. `multiply_bytes` alone wants instructions by name
(AVX-512 VNNI). Knows nothing of networks. The invariant: a sum is made in one order, from the first input to
the last, however many rows share the weights; so rows do not change each other's results by one bit.

Addresses and strides are of bytes, and nothing is checked: callers hold the arrays.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
BLOCK_VECTORS = 4
"""Vectors of a block: 64 columns, of which each input is loaded once; a last block may have two."""
MOST_VECTORS = 2 * BLOCK_VECTORS
"""Of two blocks at once, where there is one row: eight sums that do not wait for each other."""
BLOCK_ROWS = 4
"""Rows that share what is loaded of a block: sixteen sums, which thirty-two registers hold."""

I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
FLOATS, INTS, BYTES = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES), ir.VectorType(I8, 4 * LANES)
LOWER_16, UPPER_16 = 16, 0xFFFF0000

Values = list[ir.Value]
LoadWeights = Callable[["Builder", ir.Value, ir.Value], Values]


class Builder:
    """LLVM's builder with the few words that this module speaks."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.ir = builder

    def at(self, address: ir.Value, offset: int | ir.Value, kind: ir.Type) -> ir.Value:
        offset = ir.Constant(I64, offset) if isinstance(offset, int) else offset
        return self.ir.inttoptr(self.ir.add(address, offset), kind.as_pointer())

    def load(self, address: ir.Value, offset: int | ir.Value, kind: ir.Type) -> ir.Value:
        value = self.ir.load(self.at(address, offset, kind))
        value.align = 4
        return value

    def store(self, value: ir.Value, address: ir.Value, offset: int | ir.Value) -> None:
        self.ir.store(value, self.at(address, offset, value.type)).align = 4

    def splat(self, value: ir.Value, kind: ir.VectorType) -> ir.Value:
        """A vector that holds a value in every place."""
        empty = ir.Constant(kind, ir.Undefined)
        one = self.ir.insert_element(empty, value, ir.Constant(I32, 0))
        return self.ir.shuffle_vector(one, empty, ir.Constant(INTS, [0] * LANES))

    def constant(self, value: float, kind: ir.VectorType) -> ir.Value:
        return ir.Constant(kind, [value] * LANES)

    def call(self, name: str, *arguments: ir.Value) -> ir.Value:
        """An intrinsic of LLVM that takes and returns what its first argument is."""
        kind = ir.FunctionType(arguments[0].type, [each.type for each in arguments])
        return self.ir.call(cgutils.get_or_insert_function(self.ir.module, kind, name), arguments)

    def scaled(self, value: ir.Value, factor: int) -> ir.Value:
        return self.ir.mul(value, ir.Constant(I64, factor))

    def each(self, count: ir.Value) -> Any:
        """A loop's body with its number, 0 to count - 1."""
        return cgutils.for_range(self.ir, count, intp=I64)


def _load_floats(b: Builder, weights: ir.Value, vectors: int) -> Values:
    return [b.load(weights, 64 * j, FLOATS) for j in range(vectors)]


def _load_halves(b: Builder, weights: ir.Value, vectors: int) -> Values:
    """bfloat16 is the upper half of a float32: two vectors lie in one of integers, the first one lower."""
    loaded: Values = []
    for j in range(vectors // 2):
        pair = b.load(weights, 64 * j, INTS)
        lower = b.ir.shl(pair, b.constant(LOWER_16, INTS))
        upper = b.ir.and_(pair, b.constant(UPPER_16, INTS))
        loaded += [b.ir.bitcast(lower, FLOATS), b.ir.bitcast(upper, FLOATS)]
    return loaded


def _load_bytes(b: Builder, weights: ir.Value, vectors: int) -> Values:
    return [b.load(weights, 64 * j, BYTES) for j in range(vectors)]


def _load_step(
    b: Builder, load: LoadWeights, weights: ir.Value, vectors: int, vector_bytes: int, step: ir.Value,
    num_steps: ir.Value,
) -> Values:  # fmt: skip
    """Weights of one step's inputs in a block, or in two of which one lies behind the other."""
    width = min(vectors, BLOCK_VECTORS)
    place = b.ir.add(weights, b.scaled(step, width * vector_bytes))
    loaded = load(b, place, width)
    if vectors > width:
        loaded += load(b, b.ir.add(place, b.scaled(num_steps, width * vector_bytes)), width)
    return loaded


def _make_float_tile(vectors: int, rows: int, item_bytes: int) -> Any:
    """sums[r, :] += inputs[r, k] * weights[k, :] for all k, for `vectors` of columns and `rows` of rows.

    The last three arguments are those of `_make_byte_tile`, and mean nothing here.
    """
    load_weights = _load_floats if item_bytes == 4 else _load_halves

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        typing, sums, sums_stride, weights, inputs, inputs_stride, num_inputs, scales, totals, row_scales
    ):
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            sums, sums_stride, weights, inputs, inputs_stride, num_inputs, *_ = arguments
            b = Builder(builder)
            rows_in = _rows(b, inputs, inputs_stride, rows)
            rows_out = _rows(b, sums, sums_stride, rows)
            running = _begin(b, rows_out, vectors)
            with b.each(num_inputs) as loop:
                loaded = _load_step(
                    b, load_weights, weights, vectors, LANES * item_bytes, loop.index, num_inputs
                )
                for row, mine in zip(rows_in, running, strict=True):
                    x = b.splat(b.load(row, b.scaled(loop.index, 4), F32), FLOATS)
                    for total, weight in zip(mine, loaded, strict=True):
                        builder.store(b.call("llvm.fmuladd.v16f32", x, weight, builder.load(total)), total)
            _end(b, rows_out, running)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), generate

    return tile


def _make_byte_tile(vectors: int, rows: int) -> Any:
    """The same of bytes, four inputs a step: unsigned inputs, signed weights, sums in 32 bits, scaled."""

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        typing, sums, sums_stride, weights, inputs, inputs_stride, num_inputs, scales, totals, row_scales
    ):
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            sums, sums_stride, weights, inputs, inputs_stride, num_inputs, *rest = arguments
            scales, totals, row_scales = rest
            b = Builder(builder)
            rows_in = _rows(b, inputs, inputs_stride, rows)
            rows_out = _rows(b, sums, sums_stride, rows)
            running = [[cgutils.alloca_once(builder, INTS) for _ in range(vectors)] for _ in range(rows)]
            for mine in running:
                for total in mine:
                    builder.store(b.constant(0, INTS), total)
            num_steps = builder.lshr(num_inputs, ir.Constant(I64, 2))
            with b.each(num_steps) as loop:
                loaded = _load_step(b, _load_bytes, weights, vectors, 64, loop.index, num_steps)
                for row, mine in zip(rows_in, running, strict=True):
                    four = b.splat(b.load(row, b.scaled(loop.index, 4), I32), INTS)
                    for total, weight in zip(mine, loaded, strict=True):
                        summed = b.call(
                            "llvm.x86.avx512.vpdpbusd.512",
                            builder.load(total), builder.bitcast(four, BYTES), weight,
                        )  # fmt: skip
                        builder.store(summed, total)
            for r, (row, mine) in enumerate(zip(rows_out, running, strict=True)):
                step, least = (b.splat(b.load(row_scales, 8 * r + 4 * i, F32), FLOATS) for i in range(2))
                for j, total in enumerate(mine):
                    whole = builder.sitofp(builder.load(total), FLOATS)
                    offset = builder.fmul(least, b.load(totals, 64 * j, FLOATS))
                    product = b.call("llvm.fmuladd.v16f32", whole, step, offset)
                    scale, before = b.load(scales, 64 * j, FLOATS), b.load(row, 64 * j, FLOATS)
                    b.store(b.call("llvm.fmuladd.v16f32", product, scale, before), row, 64 * j)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), generate

    return tile


def _rows(b: Builder, address: ir.Value, stride: ir.Value, rows: int) -> Values:
    """Addresses of so many rows."""
    return [b.ir.add(address, b.ir.mul(stride, ir.Constant(I64, r))) for r in range(rows)]


def _begin(b: Builder, rows_out: Values, vectors: int) -> list[Values]:
    """Running sums, (rows, vectors) places for registers, that begin with what is there."""
    running = [[cgutils.alloca_once(b.ir, FLOATS) for _ in range(vectors)] for _ in rows_out]
    for row, mine in zip(rows_out, running, strict=True):
        for j, total in enumerate(mine):
            b.ir.store(b.load(row, 64 * j, FLOATS), total)
    return running


def _end(b: Builder, rows_out: Values, running: Sequence[Values]) -> None:
    for row, mine in zip(rows_out, running, strict=True):
        for j, total in enumerate(mine):
            b.store(b.ir.load(total), row, 64 * j)


def _make_mapping(change: Callable[[Builder, ir.Value, ir.Value], ir.Value]) -> Any:
    """From target and source at two addresses to what the target is to be; count: a multiple of 16."""

    @intrinsic
    def mapping(typing, target, source, count):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            b = Builder(builder)
            with b.each(builder.lshr(arguments[2], ir.Constant(I64, 4))) as loop:
                at = b.scaled(loop.index, 64)
                there, values = (b.load(address, at, FLOATS) for address in arguments[:2])
                b.store(change(b, there, values), arguments[0], at)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    return mapping


copy_floats = _make_mapping(lambda b, there, values: values)
add_floats = _make_mapping(lambda b, there, values: b.ir.fadd(there, values))


@intrinsic
def round_floats(typing, target, source, count, least, steps):  # type: ignore[no-untyped-def]
    """Bytes at target: by how many steps each float32 at source is above the least.

    count: of both, a multiple of 16.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        b, (target, source, count, *scale) = Builder(builder), arguments
        least, steps = (b.splat(value, FLOATS) for value in scale)
        with b.each(builder.lshr(count, ir.Constant(I64, 4))) as loop:
            above = builder.fsub(b.load(source, b.scaled(loop.index, 64), FLOATS), least)
            half_up = b.call("llvm.fmuladd.v16f32", above, steps, b.constant(0.5, FLOATS))
            whole = builder.trunc(builder.fptosi(half_up, INTS), ir.VectorType(I8, LANES))
            b.store(whole, target, b.scaled(loop.index, 16))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3, types.float32, types.float32), generate


@intrinsic
def extremes(typing, source, count):  # type: ignore[no-untyped-def]
    """The least and the greatest of count float32 at an address and 0; count: a multiple of 16.

    Of NaN they are anything: else the least of floats would be no single instruction.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        b = Builder(builder)
        places = {"<": cgutils.alloca_once(builder, FLOATS), ">": cgutils.alloca_once(builder, FLOATS)}
        for place in places.values():
            builder.store(b.constant(0.0, FLOATS), place)
        with b.each(builder.lshr(arguments[1], ir.Constant(I64, 4))) as loop:
            values = b.load(arguments[0], b.scaled(loop.index, 64), FLOATS)
            for order, place in places.items():
                found = builder.load(place)
                nearer = builder.fcmp_ordered(order, values, found, flags=["nnan"])
                builder.store(builder.select(nearer, values, found), place)
        kind = ir.FunctionType(F32, [FLOATS])
        least, greatest = (
            builder.call(
                cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.{name}.v16f32"),
                [builder.load(place)], fastmath=["nnan"],
            )
            for name, place in zip(("fmin", "fmax"), places.values(), strict=True)
        )  # fmt: skip
        return context.make_tuple(builder, signature.return_type, [least, greatest])

    return types.UniTuple(types.float32, 2)(types.int64, types.int64), generate


@intrinsic
def greatest(typing, source, count):  # type: ignore[no-untyped-def]
    """The greatest of count float32 at an address, a multiple of 16. NaN is passed over; of none: -inf."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        b = Builder(builder)
        place = cgutils.alloca_once_value(builder, b.constant(float("-inf"), FLOATS))
        with b.each(builder.lshr(arguments[1], ir.Constant(I64, 4))) as loop:
            values, found = b.load(arguments[0], b.scaled(loop.index, 64), FLOATS), builder.load(place)
            builder.store(builder.select(builder.fcmp_ordered(">", values, found), values, found), place)
        kind = ir.FunctionType(F32, [FLOATS])
        reduce = cgutils.get_or_insert_function(builder.module, kind, "llvm.vector.reduce.fmax.v16f32")
        return builder.call(reduce, [builder.load(place)])

    return types.float32(types.int64, types.int64), generate


def _make_pointer(element: types.Type) -> Any:
    """From an address to what can be read and written as an array is."""

    @intrinsic
    def pointer(typing, address):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64), generate

    return pointer


floats_at = _make_pointer(types.float32)
bytes_at = _make_pointer(types.uint8)


@intrinsic
def two_to(typing, power):  # type: ignore[no-untyped-def]
    """2^power of a whole float64 from -1022 to 1023, by its bits."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        whole = builder.fptosi(arguments[0], I64)
        exponent = builder.shl(builder.add(whole, ir.Constant(I64, 1023)), ir.Constant(I64, 52))
        return builder.bitcast(exponent, ir.DoubleType())

    return types.float64(types.float64), generate


class Tiles(NamedTuple):
    """A product of each shape: rows, then vectors of columns."""

    one_double: Any
    one_wide: Any
    one_narrow: Any
    four_wide: Any
    four_narrow: Any


def _make_tiles(make: Callable[..., Any], *arguments: int) -> Tiles:
    shapes = [(rows, width) for rows in (1, BLOCK_ROWS) for width in (BLOCK_VECTORS, BLOCK_VECTORS // 2)]
    shapes = [(1, MOST_VECTORS), *shapes]
    return Tiles(*(make(width, rows, *arguments) for rows, width in shapes))


FLOAT_TILES = _make_tiles(_make_float_tile, 4)
HALF_TILES = _make_tiles(_make_float_tile, 2)
BYTE_TILES = _make_tiles(_make_byte_tile)
