"""Kept memory: page faults of a process of its own, since the setting is of the whole process; its peak."""

import ctypes
import platform
import subprocess
import sys

import numpy as np
import psutil
import pytest

from wavenet.training.memory import keep_memory, peak_memory

FAULTS = """
import ctypes, resource, sys
from wavenet.training.memory import keep_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size = 64 << 20

def use_buffer():
    buffer = libc.malloc(size)
    libc.memset(buffer, 1, size)
    libc.free(buffer)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

print(int(sys.argv[1] == "keep" and keep_memory()))
before = use_buffer()
print(use_buffer() - before)
"""


def faults_of_a_second_buffer(mode):
    """What keep_memory returned, and the page faults of a 64 MiB buffer like the one given back before."""
    run = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return tuple(map(int, run.stdout.split()))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_a_buffer_that_was_given_back_is_not_faulted_in_again():
    _, returned = faults_of_a_second_buffer("return")
    taken, kept = faults_of_a_second_buffer("keep")
    assert taken == 1
    assert returned >= 32  # pages of 2 MiB at the largest
    assert kept < 16


@pytest.mark.parametrize("problem", [OSError, TypeError])
def test_without_a_c_library_to_ask_nothing_happens(monkeypatch, problem):
    def refuse(name):
        raise problem

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert keep_memory() is False


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert keep_memory() is False


def test_a_refusal_is_told_and_all_wishes_are_said(monkeypatch):
    said = []

    class Library:
        def mallopt(self, name, value):
            said.append(name)
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    assert keep_memory() is False
    assert said == [-3, -1, -8]


def test_peak_memory_counts_what_was_given_back():
    before = peak_memory()
    np.ones((before - psutil.Process().memory_info().rss + (64 << 20)) // 8)
    assert peak_memory() > before
