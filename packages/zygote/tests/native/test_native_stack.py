"""Functions that call themselves more deeply than a thread's stack has room for: an error, not the process's end."""

import inspect
import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from native_check import native
from numba.core.runtime import _nrt_python, rtsys

DEEP = 30_000
FAR_TOO_DEEP = 3_000_000


def chain(x, n):
    if n <= 0:
        return x
    return math.sin(chain(x * 0.999, n - 1)) * x + 0.5


@native
def value(x, n):
    return chain(x, n) * 1.0


def by_hand(x, n):
    """The value and the derivative of a chain, from its end to its beginning."""
    y, slope = x * 0.999**n, 0.999**n
    for k in range(n - 1, -1, -1):
        here, there = x * 0.999**k, 0.999**k
        y, slope = math.sin(y) * here + 0.5, math.cos(y) * slope * here + math.sin(y) * there
    return y, slope


@pytest.fixture
def stack_size():
    """Sets how large the stacks of new threads are."""
    before = threading.stack_size()
    yield threading.stack_size
    threading.stack_size(before)


def in_thread(f):
    """What a function returns, or the error that it raises, in a new thread."""
    found = []

    def run():
        try:
            found.append(f())
        except RecursionError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


WAYS = {
    "value": lambda x, n: value(x, n),
    "forward": lambda x, n: value.gradient(x, n, mode="forward"),
    "reverse": lambda x, n: value.gradient(x, n, mode="reverse"),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@ways
def test_too_deep_says_so(way):
    at = f"test_native_stack.py:{inspect.getsourcelines(chain)[1]}: the calls of this function nest too deep"
    with pytest.raises(RecursionError, match=rf"{at} .* write it as a loop, or call it in a thread with a larger"):
        way(0.6, FAR_TOO_DEEP)
    assert np.ravel(way(0.6, 50))[0] == pytest.approx(by_hand(0.6, 50)[way is not WAYS["value"]])


@ways
def test_a_small_stack_has_room_for_less(way, stack_size):
    stack_size(256 * 1024)
    assert isinstance(in_thread(lambda: way(0.6, 8_000)), RecursionError)
    assert in_thread(lambda: way(0.6, 200)) == way(0.6, 200)
    way(0.6, 8_000)


def test_a_larger_stack_has_room_for_more(stack_size):
    with pytest.raises(RecursionError):
        value.gradient(0.6, DEEP, mode="reverse")
    stack_size(64 * 1024 * 1024)
    found, (slope, _) = in_thread(lambda: value.withgradient(0.6, DEEP, mode="reverse"))
    assert (found, slope) == pytest.approx(by_hand(0.6, DEEP))


def test_threads_that_share_a_batch(stack_size):
    stack_size(256 * 1024)
    x = torch.linspace(0.3, 0.9, 64, dtype=torch.float64)
    batch = torch.vmap(lambda x: value(x, 8_000))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(RecursionError, match="nest too deep"):
            batch(x)
    finally:
        torch.set_num_threads(threads)


def ladder(a, b, n):
    """Arrays that are handed on, stored into and returned."""
    if n == 0:
        return a
    b = b * 0.5
    a[0] += 1.0
    return ladder(a, b, n - 1) * b[0] + b


def test_references_are_counted_right():
    """Generated code holds its arguments by their callers' references."""
    _nrt_python.memsys_enable_stats()
    f = native(lambda a, b: ladder(a * 1.0, b, 5) @ b)
    a, b = np.array([0.7, -1.2]), np.array([1.5, 0.4])
    f.gradient(a, b, mode="reverse")
    before = rtsys.get_allocation_stats()
    for _ in range(20):
        f.gradient(a, b, mode="reverse")
        f(a, b)
    after = rtsys.get_allocation_stats()
    assert after.alloc - before.alloc == after.free - before.free > 100
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free > 100


PROGRAM = """
from torchflux_zygote import native
from torchflux_zygote._native import _stack_end

_stack_end.stack_end = lambda: 0

def chain(x, n):
    return x if n <= 0 else chain(x * 0.999, n - 1) * x + 0.5

native(lambda x: chain(x, 3_000_000) * 1.0)(0.6)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="ends in another way there")
def test_without_a_limit_the_process_ends(tmp_path):
    """A canary: nothing else stops it."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    env = os.environ | {"TORCHFLUX_CACHE": str(tmp_path)}
    assert subprocess.run([sys.executable, str(file)], env=env, capture_output=True, check=False).returncode < 0
