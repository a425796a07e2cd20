"""Random numbers by counter: the same number for the same key and counter, whatever else is asked for."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

__all__ = ["normal", "threefry"]

Words = NDArray[np.uint32]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def threefry(key: tuple[int, int], counter: tuple[Words, Words]) -> tuple[Words, Words]:
    """Threefry-2x32 with 20 rounds: two words of 32 bits for a key of two and counters of two, which broadcast.

    Source: Salmon, Moraes, Dror & Shaw (2011), doi:10.1145/2063384.2063405.
    """
    keys = (*key, key[0] ^ key[1] ^ PARITY)
    x, y = np.broadcast_arrays(counter[0] + np.uint32(key[0]), counter[1] + np.uint32(key[1]))
    x, y = x.copy(), y.copy()
    high = np.empty_like(y)
    for i in range(1, 6):
        for rotation in ROTATIONS[1 - i % 2]:
            x += y
            np.right_shift(y, np.uint32(32 - rotation), out=high)
            y <<= np.uint32(rotation)
            y |= high
            y ^= x
        x += np.uint32(keys[i % 3])
        y += np.uint32((keys[(i + 1) % 3] + i) % 2**32)
    return x, y


def normal(key: tuple[int, int], counter: tuple[Words, Words]) -> NDArray[np.float64]:
    """Standard normal numbers by the inverse of their distribution, from 52 bits each; so none is beyond 8.2."""
    x, y = threefry(key, counter)
    bits = x.astype(np.uint64)
    bits <<= np.uint64(20)
    bits |= y >> np.uint32(12)
    return ndtri((bits + 0.5) * 2.0**-52)
