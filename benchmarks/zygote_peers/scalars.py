"""The functions of the table in Zygote's README, sin(cos(x)) and a power by a loop; one call, and at many points.

One call from Python is mostly the way in and out of machine code; a sum over many points is mostly the derivative.
"""

import math

import numba
import numpy as np
import torch

from torchflux_zygote._native._native import native

from .common import Workload, along, compiled_both_ways, jax, native_reverse, warp, warp_gradient

POINTS, EXPONENT = 10_000, 7


def sincos(x):
    return math.sin(math.cos(x))


def power(x, n):
    r = 1.0
    while n > 0:
        n -= 1
        r *= x
    return r


def sincos_sum(xs):
    total = 0.0
    for i in range(xs.shape[0]):
        total += math.sin(math.cos(xs[i]))
    return total


def power_sum(xs, n):
    total = 0.0
    for i in range(xs.shape[0]):
        r, k = 1.0, n
        while k > 0:
            k -= 1
            r *= xs[i]
        total += r
    return total


def sincos_dual(x):
    c = math.cos(x)
    return math.sin(c), (-math.cos(c) * math.sin(x),)


def sincos_reverse(x):
    c = math.cos(x)
    y = math.sin(c)
    c_bar = math.cos(c)
    return y, (-math.sin(x) * c_bar,)


def power_dual(x, n):
    r, dr = 1.0, 0.0
    while n > 0:
        n -= 1
        r, dr = r * x, dr * x + r
    return r, (dr,)


def power_reverse(x, n):
    """Kept for the way back: the product so far, at every turn."""
    tape, turns, r = np.empty(max(n, 0)), 0, 1.0
    while n > 0:
        n -= 1
        tape[turns] = r
        turns += 1
        r *= x
    r_bar, x_bar = 1.0, 0.0
    for k in range(turns - 1, -1, -1):
        x_bar += r_bar * tape[k]
        r_bar *= x
    return r, (x_bar,)


def sincos_sum_reverse(xs):
    total, bar = 0.0, np.empty(xs.shape[0])
    for i in range(xs.shape[0]):
        c = math.cos(xs[i])
        total += math.sin(c)
        bar[i] = -math.cos(c) * math.sin(xs[i])
    return total, bar


def power_sum_reverse(xs, n):
    """One short tape, used again for every point."""
    total, bar, tape = 0.0, np.empty(xs.shape[0]), np.empty(max(n, 0))
    for i in range(xs.shape[0]):
        x, r, turns = xs[i], 1.0, 0
        for _ in range(n):
            tape[turns] = r
            turns += 1
            r *= x
        total += r
        r_bar, x_bar = 1.0, 0.0
        for k in range(turns - 1, -1, -1):
            x_bar += r_bar * tape[k]
            r_bar *= x
        bar[i] = x_bar
    return total, bar


def torch_power(x, n):
    r = torch.ones_like(x)
    for _ in range(n):
        r = r * x
    return r


def torch_gradient(f, x, *rest):
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)

    def call():
        loss = f(point, *rest).sum()
        return loss, torch.autograd.grad(loss, point)

    return call


def torch_sincos(x):
    return torch.sin(torch.cos(x))


if jax is not None:
    jnp = jax.numpy

    def jax_peers(f, x):
        point = jnp.array(x)
        loss = lambda p: f(p).sum()
        plain, slopes = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
        ready = jax.block_until_ready
        return {"JAX jit": lambda: ready(plain(point))}, {"JAX jit, reverse": lambda: ready(slopes(point))}

    def jax_sincos(x):
        return jnp.sin(jnp.cos(x))

    def jax_power(x):
        return jax.lax.fori_loop(0, EXPONENT, lambda _, r: r * x, jnp.ones_like(x))


if warp is not None:
    wp, f8 = warp, warp.float64

    @wp.kernel
    def warp_sincos(x: wp.array(dtype=f8), loss: wp.array(dtype=f8)):
        wp.atomic_add(loss, 0, wp.sin(wp.cos(x[wp.tid()])))

    # The products are kept in an array: Warp's adjoint of a number that a loop changes is wrong, without a word.
    @wp.kernel
    def warp_power(x: wp.array(dtype=f8), n: int, r: wp.array2d(dtype=f8), loss: wp.array(dtype=f8)):
        i = wp.tid()
        r[i, 0] = f8(1.0)
        for k in range(n):
            r[i, k + 1] = r[i, k] * x[i]
        wp.atomic_add(loss, 0, r[i, n])

    def warp_peer(kernel, x):
        point = wp.array(np.atleast_1d(x), dtype=f8, device="cpu", requires_grad=True)
        loss = wp.zeros(1, dtype=f8, device="cpu", requires_grad=True)
        if kernel is warp_sincos:
            return warp_gradient(kernel, len(point), [point, loss], [point], loss)
        r = wp.zeros((len(point), EXPONENT + 1), dtype=f8, device="cpu", requires_grad=True)
        return warp_gradient(kernel, len(point), [point, EXPONENT, r, loss], [point], loss)


def workloads():
    generator = np.random.default_rng(0)
    xs = generator.uniform(0.5, 1.5, POINTS)
    once, often = "one call", f"{POINTS:,} points"
    yield _workload(f"sin(cos(x)), {once}", sincos, sincos_reverse, sincos_dual, torch_sincos, 0.7)
    yield _workload(f"pow(x, {EXPONENT}), {once}", power, power_reverse, power_dual, torch_power, 1.1, EXPONENT)
    yield _workload(f"sin(cos(x)), {often}", sincos_sum, sincos_sum_reverse, None, torch_sincos, xs)
    yield _workload(f"pow(x, {EXPONENT}), {often}", power_sum, power_sum_reverse, None, torch_power, xs, EXPONENT)


def _workload(title, primal, reverse, dual, eager, *args):
    ours, by_hand = native(primal), numba.njit(primal)
    w = Workload(title, "hand-written reverse")
    w.line = along(by_hand, args[:1], *args[1:])
    w.primals = {"hand-written": lambda: by_hand(*args), "native": lambda: ours(*args)}
    w.gradients = compiled_both_ways("hand-written reverse", reverse, *args)
    if dual is not None:
        w.gradients |= compiled_both_ways("hand-written dual", dual, *args)
        w.gradients["native, dual (its own choice)"] = lambda: ours.withgradient(*args)
        w.gradients["reverse as native compiles it, called bare"] = native_reverse(ours, *args)
    else:
        w.gradients["native, reverse"] = lambda: ours.withgradient(*args)
    is_power = len(args) == 2
    if jax is not None:
        plain, slopes = jax_peers(jax_power if is_power else jax_sincos, args[0])
        w.primals |= plain
        w.gradients |= slopes
    if warp is not None:
        w.gradients["Warp"] = warp_peer(warp_power if is_power else warp_sincos, args[0])
    w.gradients["torch eager"] = torch_gradient(eager, *args)
    return w
