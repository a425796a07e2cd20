"""Indexing and changing elements in a loop costs O(1) a step: four times the steps, about four times the time."""

import gc
import time

import numpy as np
import pytest
import torch

from torchflux_zygote import gradient


def read(x):
    total = 0.0
    for i in range(len(x)):
        total = total + x[i] * 2.0
    return total


def iterate(xs):
    total = 0.0
    for x in xs:
        total = total + x * 2.0
    return total


def write(xs):
    ys = [0.0] * len(xs)
    for i in range(len(xs)):
        ys[i] = xs[i] * 2.0
    return sum(ys)


def seconds(f, x):
    times = []
    gc.disable()  # what it costs grows with everything else that is alive
    for _ in range(5):
        start = time.thread_time()  # of this thread: others have the machine as well
        gradient(f, x)
        times.append(time.thread_time() - start)
    gc.enable()
    return min(times)


MAKE = {
    "list": lambda n: [0.5] * n,
    "tuple": lambda n: (0.5,) * n,
    "array": lambda n: np.full(n, 0.5),
    "tensor": lambda n: torch.full((n,), 0.5),
}


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("f", [read, iterate, write])
def test_a_loop_over_elements_is_linear(f, kind):
    small, large = MAKE[kind](500), MAKE[kind](4000)
    gradient(f, small)
    assert seconds(f, large) < 8 * 3 * seconds(f, small)


@pytest.mark.parametrize("kind", MAKE)
def test_the_gradient_of_the_loop_is_right(kind):
    (g,) = gradient(read, MAKE[kind](5))
    assert [float(x) for x in g] == [2.0] * 5
