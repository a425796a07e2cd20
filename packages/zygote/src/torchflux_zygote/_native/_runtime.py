"""What compiled programs call: bounds, growing tapes, broadcasting backwards."""

import numba
import numpy as np

from torchflux_zygote._native._pipeline import Generated, OutOfLine
from torchflux_zygote._native._stack_end import frame

__all__ = ["Generated"]  # the rest by name

jit = numba.njit(nogil=True, cache=True, error_model="numpy")
apart = numba.njit(nogil=True, cache=True, error_model="numpy", pipeline_class=OutOfLine)
"""For loops over arrays, which LLVM would copy to every call."""


@jit
def range_length(start, stop, step):  # type: ignore[no-untyped-def]
    """The number of numbers in a range."""
    if step > 0:
        return max(0, (stop - start + step - 1) // step)
    return max(0, (start - stop - step - 1) // -step)


@jit
def outside(start, stop, step, shift, n):  # type: ignore[no-untyped-def]
    """Whether `i + shift` leaves the bounds of `n` elements for any `i` of a range."""
    trips = range_length(start, stop, step)
    first, last = start + shift, start + (trips - 1) * step + shift
    return trips > 0 and (min(first, last) < -n or max(first, last) >= n)


@jit
def beyond_stack(limit):  # type: ignore[no-untyped-def]
    """Whether the frame of this call lies beyond where the thread's stack may be used."""
    return frame() < limit


@apart
def grow(tape, rows):  # type: ignore[no-untyped-def]
    """The tape, or a longer copy with room for so many rows."""
    have = tape.shape[0]
    if rows <= have:
        return tape
    longer = np.empty((max(rows, 2 * have), *tape.shape[1:]), tape.dtype)
    longer[:have] = tape
    return longer


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})
def plus(a, b):  # type: ignore[no-untyped-def]
    """`a + b`, a step of a sum of cotangents, whose terms may be added up in any order."""
    return a + b


@jit
def floordiv(a, b):  # type: ignore[no-untyped-def]
    """The quotient of integers, rounded down; of the smallest and -1 the smallest, as 64 bits wrap around."""
    return -a if b == -1 else a // b


@jit
def maximum(a, b):  # type: ignore[no-untyped-def]
    """The larger; NaN if either is."""
    return a if a >= b or a != a else b


@jit
def minimum(a, b):  # type: ignore[no-untyped-def]
    """The smaller; NaN if either is."""
    return a if a <= b or a != a else b


@apart
def zeros_1(n):  # type: ignore[no-untyped-def]
    """Zeros of shape (n,)."""
    return np.zeros(n, np.float64)


@apart
def zeros_2(n, m):  # type: ignore[no-untyped-def]
    """Zeros of shape (n, m)."""
    return np.zeros((n, m), np.float64)


# What Numba would compile again in every function, for a second each: loops that are compiled once, and kept.


@apart
def fill(x, value):  # type: ignore[no-untyped-def]
    """`x[...] = value`, a number."""
    for i in np.ndindex(x.shape):
        x[i] = value


@apart
def assign_11(x, y):  # type: ignore[no-untyped-def]
    """`x[:] = y`."""
    _fits(x.shape[0], y.shape[0])
    step = 1 if y.shape[0] == x.shape[0] else 0
    for i in range(x.shape[0]):
        x[i] = y[i * step]


@apart
def assign_22(x, y):  # type: ignore[no-untyped-def]
    """`x[:, :] = y`."""
    _fits(x.shape[0], y.shape[0])
    _fits(x.shape[1], y.shape[1])
    down, along = (1 if y.shape[0] == x.shape[0] else 0), (1 if y.shape[1] == x.shape[1] else 0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] = y[i * down, j * along]


@apart
def assign_21(x, y):  # type: ignore[no-untyped-def]
    """`x[:, :] = y` for every row."""
    assign_22(x, y.reshape((1, y.shape[0])) if y.flags.c_contiguous else y.copy().reshape((1, y.shape[0])))


@apart
def add_11(x, y):  # type: ignore[no-untyped-def]
    """`x[:] += y`."""
    _fits(x.shape[0], y.shape[0])
    step = 1 if y.shape[0] == x.shape[0] else 0
    for i in range(x.shape[0]):
        x[i] += y[i * step]


@apart
def add_22(x, y):  # type: ignore[no-untyped-def]
    """`x[:, :] += y`."""
    _fits(x.shape[0], y.shape[0])
    _fits(x.shape[1], y.shape[1])
    down, along = (1 if y.shape[0] == x.shape[0] else 0), (1 if y.shape[1] == x.shape[1] else 0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += y[i * down, j * along]


@jit
def _fits(n, m):  # type: ignore[no-untyped-def]
    """Raises if a length can't be broadcast to another."""
    if m not in (n, 1):
        raise ValueError("the shapes of a store don't fit")


@jit
def broadcast(n, m):  # type: ignore[no-untyped-def]
    """The length to which two broadcast."""
    if n != m and n != 1 and m != 1:
        raise ValueError("the shapes of operands don't fit")
    return m if n == 1 else n


@jit
def stride(n, whole):  # type: ignore[no-untyped-def]
    """How far to go along an axis of length `n` for a step along one of length `whole`, to which it is broadcast."""
    if n != whole and n != 1:
        raise ValueError("the shapes of a store don't fit")
    return 1 if n == whole else 0


@apart
def outer(a, b):  # type: ignore[no-untyped-def]
    """The outer product."""
    out = np.empty((a.shape[0], b.shape[0]), a.dtype)
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            out[i, j] = a[i] * b[j]
    return out


@apart
def total(x):  # type: ignore[no-untyped-def]
    """The sum of all elements."""
    s = x.dtype.type(0)
    for i in np.ndindex(x.shape):
        s += x[i]
    return s


@apart
def zeros_like(x):  # type: ignore[no-untyped-def]
    """Zeros in the shape of `x`, contiguous."""
    return np.zeros(x.shape, x.dtype)


@apart
def full_like(x, value):  # type: ignore[no-untyped-def]
    """An array like `x`, filled with what broadcasts to it."""
    out = np.empty(x.shape, x.dtype)
    out[...] = value
    return out


@apart
def matmul(a, b):  # type: ignore[no-untyped-def]
    """`a @ b`, whatever the layout; the transpose of a matrix isn't copied for its product with a vector."""
    if a.ndim == 2 and b.ndim == 1 and a.flags.f_contiguous:
        return np.dot(np.ascontiguousarray(b), np.ascontiguousarray(a.T))
    return np.dot(np.ascontiguousarray(a), np.ascontiguousarray(b))


@apart
def ravel(x):  # type: ignore[no-untyped-def]
    """The elements in a row."""
    return np.ascontiguousarray(x).reshape(x.size)


@apart
def cumsum(x):  # type: ignore[no-untyped-def]
    """The sums of the first elements."""
    out = x.copy()
    for i in range(1, x.shape[0]):
        out[i] = out[i - 1] + x[i]
    return out


@jit
def diagonal(x):  # type: ignore[no-untyped-def]
    """A copy of the diagonal."""
    out = np.empty(min(x.shape), x.dtype)
    for i in range(out.shape[0]):
        out[i] = x[i, i]
    return out


@jit
def on_diagonal(x, n, m):  # type: ignore[no-untyped-def]
    """Zeros of shape (n, m) but for the diagonal."""
    out = np.zeros((n, m), x.dtype)
    for i in range(x.shape[0]):
        out[i, i] = x[i]
    return out


# Indices that are arrays: numbers of elements, in the order of C.


@jit
def beyond(where, n):  # type: ignore[no-untyped-def]
    """Whether any index is out of the bounds of `n` elements."""
    found = False
    for i in where.flat:
        found = found or i < -n or i >= n
    return found


@jit
def wrapped(where, n):  # type: ignore[no-untyped-def]
    """Indices counted from the front."""
    out = np.empty(where.shape, np.int64)
    for k in np.ndindex(where.shape):
        out[k] = where[k] + n if where[k] < 0 else where[k]
    return out


@jit
def nonzero(mask):  # type: ignore[no-untyped-def]
    """The places at which a mask holds."""
    out = np.empty(mask.size, np.int64)
    count = 0
    for n, holds in enumerate(mask.flat):
        if holds:
            out[count] = n
            count += 1
    return out[:count].copy()


@jit
def take(x, where):  # type: ignore[no-untyped-def]
    """The elements at some places."""
    out = np.empty(where.shape, x.dtype)
    for k in np.ndindex(where.shape):
        out[k] = x.flat[where[k]]
    return out


@jit
def take_last(x, where):  # type: ignore[no-untyped-def]
    """The elements at some places; zero where a place comes again."""
    out, rest, places = np.empty(where.size, x.dtype), x.copy(), where.copy().reshape(where.size)
    for k in range(where.size - 1, -1, -1):
        out[k] = rest.flat[places[k]]
        rest.flat[places[k]] = 0.0
    return out.reshape(where.shape)


@jit
def put(x, y, where):  # type: ignore[no-untyped-def]
    """`x.flat[where] = y`."""
    for k in np.ndindex(where.shape):
        x.flat[where[k]] = y[k]


@jit
def put_number(x, y, where):  # type: ignore[no-untyped-def]
    """`x.flat[where] = y`, a number."""
    for k in np.ndindex(where.shape):
        x.flat[where[k]] = y


@jit
def scatter(x, y, where):  # type: ignore[no-untyped-def]
    """Adds `y` to `x` at some places."""
    for k in np.ndindex(where.shape):
        x.flat[where[k]] += y[k]


@jit
def scatter_number(x, y, where):  # type: ignore[no-untyped-def]
    """Adds a number to `x` at some places."""
    for k in np.ndindex(where.shape):
        x.flat[where[k]] += y


@jit
def unbroadcast1(g, n):  # type: ignore[no-untyped-def]
    """The cotangent of an operand of shape (n,)."""
    out = np.zeros(n, g.dtype)
    if g.ndim == 1:
        flat = g.reshape(1, g.size) if n != 1 else g.reshape(g.size, 1)
    else:
        flat = g.reshape(g.size // n, n) if n else g.reshape(0, 0)
    for i in range(flat.shape[0]):
        for j in range(n):
            out[j] += flat[i, j]
    return out


@jit
def unbroadcast2(g, n, m):  # type: ignore[no-untyped-def]
    """The cotangent of an operand of shape (n, m)."""
    if g.shape == (n, m):
        return g.copy()
    out = np.zeros((n, m), g.dtype)
    for i in range(g.shape[0]):
        for j in range(g.shape[1]):
            out[i if n > 1 else 0, j if m > 1 else 0] += g[i, j]
    return out
