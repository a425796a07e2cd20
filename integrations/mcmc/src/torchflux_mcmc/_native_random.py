"""Random numbers in compiled code: each transition has a generator of its own, from a seed of 64 bits.

So its draws depend on nothing but that seed: not on threads, nor on how many numbers another transition took.

Sources: Blackman & Vigna (2021), doi:10.1145/3460772 (xoshiro256++); Steele, Lea & Flood (2014),
doi:10.1145/2660193.2660195 (SplitMix64, which spreads the seed); Marsaglia & Bray (1964), doi:10.1137/1006063.
"""

import math
from typing import Any

import numba
import numpy as np

from torchflux_zygote._native._pipeline import Generated, OutOfLine

__all__ = ["apart", "jit", "normals", "seed", "uniform", "word"]

OPTIONS: dict[str, Any] = {
    "nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True,
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
}  # fmt: skip
"""Sums may be regrouped, and NaN and inf stay what they are."""
jit: Any = numba.njit(**OPTIONS, pipeline_class=Generated)
"""How all of the sampler is compiled."""
apart: Any = numba.njit(**OPTIONS, pipeline_class=OutOfLine)
"""The same for what isn't copied to where it is called."""

WEYL, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
B11, B17, B19, B23, B27, B30, B31, B41, B45 = (np.uint64(k) for k in (11, 17, 19, 23, 27, 30, 31, 41, 45))


@jit
def seed(state, number):  # type: ignore[no-untyped-def]
    """Sets a generator's four words from an integer."""
    x = np.uint64(number)
    for k in range(4):
        x += WEYL
        z = (x ^ (x >> B30)) * FIRST
        z = (z ^ (z >> B27)) * SECOND
        state[k] = z ^ (z >> B31)


@jit
def word(state):  # type: ignore[no-untyped-def]
    """The next 64 bits."""
    total = state[0] + state[3]
    found = ((total << B23) | (total >> B41)) + state[0]
    shifted = state[1] << B17
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = (state[3] << B45) | (state[3] >> B19)
    return found


@jit
def uniform(state):  # type: ignore[no-untyped-def]
    """A number from [0, 1), of 53 bits."""
    return np.float64(word(state) >> B11) * 2.0**-53


@jit
def normals(state, out):  # type: ignore[no-untyped-def]
    """Fills an array with standard normal numbers: in pairs, from points in the unit circle."""
    for i in range(0, out.shape[0], 2):
        x, y, square = 0.0, 0.0, 2.0
        while square >= 1.0 or square == 0.0:
            x, y = 2.0 * uniform(state) - 1.0, 2.0 * uniform(state) - 1.0
            square = x * x + y * y
        scale = math.sqrt(-2.0 * math.log(square) / square)
        out[i] = x * scale
        if i + 1 < out.shape[0]:
            out[i + 1] = y * scale
