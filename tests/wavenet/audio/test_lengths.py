"""Lengths: what a file's own chunks state is compared with what is there, and nothing else is believed."""

import io
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wavenet.audio.lengths import (
    ASF_DATA,
    ASF_HEADER,
    ASF_PROPERTIES,
    MOST_CHUNKS,
    ends_amid_ts_packet,
    falls_short,
    sizes_of_audio,
)

NAMES = st.sampled_from([b"desc", b"chan", b"free", b"info", b"pakt"])
OTHER_CHUNKS = st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=5)


def caf(chunks):
    """(name, content, size or None for the true one) of each chunk."""
    parts = (name + struct.pack(">Q", len(content) if size is None else size) + content
             for name, content, size in chunks)  # fmt: skip
    return b"caff\0\1\0\0" + b"".join(parts)


def asf(num_bytes, *, flags=2, cover=b"", data_size=None):
    properties = ASF_PROPERTIES + struct.pack("<Q", 104) + bytes(64) + struct.pack("<I", flags) + bytes(12)
    content = struct.pack("<IBB", 1, 1, 2) + cover + properties
    header = ASF_HEADER + struct.pack("<Q", 24 + len(content)) + content
    size = 24 + num_bytes if data_size is None else data_size
    return header + ASF_DATA + struct.pack("<Q", size) + bytes(num_bytes)


def sizes(content):
    return sizes_of_audio(io.BytesIO(content))


@given(before=OTHER_CHUNKS, behind=OTHER_CHUNKS, num_bytes=st.integers(0, 200), data=st.data())
def test_a_caf_states_its_audio_wherever_it_is_cut(before, behind, num_bytes, data):
    parts = [(name, content, None) for name, content in before]
    start = len(caf(parts)) + 12
    whole = caf([*parts, (b"data", bytes(num_bytes), None), *((*chunk, None) for chunk in behind)])
    end = data.draw(st.integers(start, len(whole)))
    assert sizes(whole[:end]) == (end - start, num_bytes)
    assert falls_short(end - start, num_bytes) == (end - start < 0.99 * num_bytes)
    assert sizes(whole[: data.draw(st.integers(0, start - 1))]) is None


def test_a_caf_whose_length_was_unknown_never_falls_short():
    assert not falls_short(*sizes(caf([(b"desc", bytes(32), None), (b"data", bytes(100), (1 << 64) - 1)])))


@given(num_bytes=st.integers(26, 500), lost=st.integers(0, 500))
def test_an_asf_states_its_audio_wherever_it_is_cut(num_bytes, lost):
    whole = asf(num_bytes)
    lost = min(lost, num_bytes)
    assert sizes(whole[: len(whole) - lost]) == (num_bytes - lost, num_bytes)


def test_an_asf_may_have_a_cover_before_its_properties_and_an_index_behind_its_audio():
    assert sizes(asf(100, cover=bytes(50000)) + bytes(77)) == (177, 100)
    assert not falls_short(177, 100)


def test_what_an_asf_states_that_was_broadcast_is_not_believed():
    assert falls_short(*sizes(asf(100, data_size=10000)))
    assert sizes(asf(100, data_size=10000, flags=3)) is None
    assert sizes(asf(100).replace(ASF_PROPERTIES, bytes(16))) is None


HEADS = st.sampled_from([b"", b"caff\0\1\0\0", ASF_HEADER, asf(0)[:-24]])


@given(content=st.binary(max_size=300), head=HEADS)
@example(content=b"free" + b"\xff" * 8, head=b"caff\0\1\0\0")
@example(content=bytes(300), head=ASF_HEADER)
def test_nonsense_is_walked_through_and_states_nothing_or_sizes(content, head):
    found = sizes(head + content)
    assert found is None or found[0] <= len(content)


def test_a_walk_comes_to_an_end():
    """Empty chunks without end: a file of zeros behind the header of a CAF."""
    content = caf([(b"free", b"", None)] * (MOST_CHUNKS - 1) + [(b"data", bytes(10), None)])
    assert sizes(content) == (10, 10)
    assert sizes(caf([(b"free", b"", None)] * MOST_CHUNKS + [(b"data", bytes(10), None)])) is None


@pytest.mark.parametrize("content", [b"", b"RIFF", b"fLaC" + bytes(99), bytes(99)])
def test_other_formats_state_nothing_here(content):
    assert sizes(content) is None


@pytest.mark.parametrize("stated", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB, (1 << 64) - 1, 0])
def test_sizes_of_streams_are_no_sizes(stated):
    assert not falls_short(5, stated)


def test_a_last_hundredth_may_be_missing():
    assert not falls_short(99000, 100000)
    assert falls_short(98999, 100000)


@given(
    size_and_lead=st.sampled_from([(188, 0), (192, 4), (204, 0)]),
    num_packets=st.integers(5, 30),
    part=st.integers(0, 187),
    seed=st.integers(0, 99),
)
def test_a_transport_stream_that_ends_amid_a_packet_is_told(size_and_lead, num_packets, part, seed):
    size, lead = size_and_lead
    packets = np.random.default_rng(seed).integers(0, 256, (num_packets + 1, size), np.uint8)
    packets[:, lead] = 0x47
    content = packets.tobytes()[: num_packets * size]
    cut = content + packets[-1].tobytes()[:part]
    assert ends_amid_ts_packet(io.BytesIO(cut)) == (part > lead)
    assert not ends_amid_ts_packet(io.BytesIO(content + b"TAG" + bytes(50)))
