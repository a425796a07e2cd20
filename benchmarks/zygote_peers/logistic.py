"""The log density of a logistic regression with a normal prior, as loops and as arrays; for the weights' gradient."""

import math

import numba
import numpy as np
import torch
import torch.nn.functional as F

from torchflux_zygote._native._native import native

from .common import Workload, along, compiled_both_ways, jax, warp, warp_gradient

ROWS, COLUMNS = 1_000, 10


def loops(w, x, y):
    total = 0.0
    for i in range(x.shape[0]):
        z = 0.0
        for j in range(x.shape[1]):
            z += x[i, j] * w[j]
        total += y[i] * z - math.log1p(math.exp(-abs(z))) - max(z, 0.0)
    for j in range(x.shape[1]):
        total -= 0.5 * w[j] * w[j]
    return total


def arrays(w, x, y):
    z = x @ w
    return (y * z - np.log1p(np.exp(-np.abs(z))) - np.maximum(z, 0.0)).sum() - 0.5 * (w * w).sum()


def reverse(w, x, y):
    """The slope of a row is known as soon as the row is: nothing is kept."""
    total, w_bar = 0.0, np.empty(x.shape[1])
    for j in range(x.shape[1]):
        total -= 0.5 * w[j] * w[j]
        w_bar[j] = -w[j]
    for i in range(x.shape[0]):
        z = 0.0
        for j in range(x.shape[1]):
            z += x[i, j] * w[j]
        e = math.exp(-abs(z))
        total += y[i] * z - math.log1p(e) - max(z, 0.0)
        slope = y[i] - (1.0 if z > 0.0 else e) / (1.0 + e)
        for j in range(x.shape[1]):
            w_bar[j] += slope * x[i, j]
    return total, w_bar


def torch_gradient(w, x, y):
    weights, x, y = torch.tensor(w, requires_grad=True), torch.tensor(x), torch.tensor(y)

    def call():
        loss = -F.binary_cross_entropy_with_logits(x @ weights, y, reduction="sum") - 0.5 * (weights * weights).sum()
        return loss, torch.autograd.grad(loss, weights)

    return call


if jax is not None:
    jnp = jax.numpy

    def jax_loss(w, x, y):
        z = x @ w
        return (y * z - jax.nn.softplus(z)).sum() - 0.5 * (w * w).sum()

    def jax_peers(w, x, y):
        w, x, y = jnp.array(w), jnp.array(x), jnp.array(y)
        plain, slopes = jax.jit(jax_loss), jax.jit(jax.value_and_grad(jax_loss))
        ready = jax.block_until_ready
        return {"JAX jit": lambda: ready(plain(w, x, y))}, {"JAX jit, reverse": lambda: ready(slopes(w, x, y))}


if warp is not None:
    wp, f8 = warp, warp.float64

    # The loop's length is a constant, so that Warp unrolls it: with one that comes at run time the gradient is wrong,
    # without a word.
    @wp.kernel
    def warp_kernel(w: wp.array(dtype=f8), x: wp.array2d(dtype=f8), y: wp.array(dtype=f8), loss: wp.array(dtype=f8)):
        i = wp.tid()
        z = f8(0.0)
        for j in range(wp.static(COLUMNS)):
            z += x[i, j] * w[j]
        row = y[i] * z - wp.log(f8(1.0) + wp.exp(-wp.abs(z))) - wp.max(z, f8(0.0))
        if i < wp.static(COLUMNS):
            wp.atomic_add(loss, 0, -f8(0.5) * w[i] * w[i])
        wp.atomic_add(loss, 0, row)

    def warp_peer(w, x, y):
        weights = wp.array(w, dtype=f8, device="cpu", requires_grad=True)
        data = [wp.array(a, dtype=f8, device="cpu") for a in (x, y)]
        loss = wp.zeros(1, dtype=f8, device="cpu", requires_grad=True)
        return warp_gradient(warp_kernel, len(x), [weights, *data, loss], [weights], loss)


def captured(form, x, y):
    """A density of the weights alone: the data are captured, so that no gradient of theirs is asked for."""
    return native({loops: lambda w: loops(w, x, y), arrays: lambda w: arrays(w, x, y)}[form])


def workloads():
    generator = np.random.default_rng(0)
    w0, x = generator.normal(size=COLUMNS), generator.normal(size=(ROWS, COLUMNS))
    y = 1.0 * (generator.uniform(size=ROWS) < 1.0 / (1.0 + np.exp(-x @ w0)))
    args = 0.5 * w0, x, y
    for form in (loops, arrays):
        ours, whole, by_hand = captured(form, x, y), native(form), numba.njit(form)
        w = Workload(f"Logistic regression, {ROWS:,} × {COLUMNS}, {form.__name__}", "hand-written reverse")
        w.line = along(by_hand, args[:1], *args[1:])
        w.primals = {"hand-written": lambda f=by_hand: f(*args), "native": lambda f=ours: f(args[0])}
        w.gradients = compiled_both_ways("hand-written reverse", reverse, *args)
        w.gradients["native, reverse"] = lambda f=ours: f.withgradient(args[0])
        w.gradients["native, reverse, and the data's gradient"] = lambda f=whole: _weights_only(f.withgradient(*args))
        if jax is not None:
            plain, slopes = jax_peers(*args)
            w.primals |= plain
            w.gradients |= slopes
        if warp is not None:
            w.gradients["Warp"] = warp_peer(*args)
        w.gradients["torch eager"] = torch_gradient(*args)
        yield w


def _weights_only(result):
    value, gradients = result
    return value, gradients[0]
