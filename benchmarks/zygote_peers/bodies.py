"""Eight bodies that attract each other, 100 steps; every position and mass is differentiated."""

import math

import numba
import numpy as np
import torch

from torchflux_zygote._native._native import native

from .common import Workload, along, compiled_both_ways, jax, warp, warp_gradient

BODIES, STEPS, DT, SOFT = 8, 100, 0.01, 0.01


def primal(x0, masses):
    """From rest, by symplectic Euler steps (a leapfrog half a step behind); the sum of the squared coordinates."""
    n = x0.shape[0]
    x, v, a = x0.copy(), np.zeros((n, 3)), np.zeros((n, 3))
    for _ in range(STEPS):
        for i in range(n):
            for k in range(3):
                a[i, k] = 0.0
        for i in range(n):
            for j in range(i):
                dx = x[j, 0] - x[i, 0]
                dy = x[j, 1] - x[i, 1]
                dz = x[j, 2] - x[i, 2]
                r2 = dx * dx + dy * dy + dz * dz + SOFT
                w = 1.0 / (r2 * math.sqrt(r2))
                p, q = w * masses[j], w * masses[i]
                a[i, 0] += p * dx
                a[i, 1] += p * dy
                a[i, 2] += p * dz
                a[j, 0] -= q * dx
                a[j, 1] -= q * dy
                a[j, 2] -= q * dz
        for i in range(n):
            for k in range(3):
                v[i, k] += DT * a[i, k]
                x[i, k] += DT * v[i, k]
    total = 0.0
    for i in range(n):
        for k in range(3):
            total += x[i, k] * x[i, k]
    return total


def reverse(x0, masses):
    """Kept for the way back: the positions at every step, and 1/r² and 1/r³ of every pair."""
    n = x0.shape[0]
    pairs = n * (n - 1) // 2
    xs, kept = np.empty((STEPS + 1, n, 3)), np.empty((STEPS, pairs, 2))
    v, a = np.zeros((n, 3)), np.empty((n, 3))
    xs[0] = x0
    for t in range(STEPS):
        x, following = xs[t], xs[t + 1]
        a[:] = 0.0
        pair = 0
        for i in range(n):
            for j in range(i):
                dx, dy, dz = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2]
                u = 1.0 / (dx * dx + dy * dy + dz * dz + SOFT)
                w = u * math.sqrt(u)
                kept[t, pair, 0], kept[t, pair, 1] = u, w
                pair += 1
                p, q = w * masses[j], w * masses[i]
                a[i, 0] += p * dx
                a[i, 1] += p * dy
                a[i, 2] += p * dz
                a[j, 0] -= q * dx
                a[j, 1] -= q * dy
                a[j, 2] -= q * dz
        for i in range(n):
            for k in range(3):
                v[i, k] += DT * a[i, k]
                following[i, k] = x[i, k] + DT * v[i, k]
    total = 0.0
    x_bar, v_bar, masses_bar = 2.0 * xs[STEPS], np.zeros((n, 3)), np.zeros(n)
    for i in range(n):
        for k in range(3):
            total += xs[STEPS, i, k] * xs[STEPS, i, k]
    for t in range(STEPS - 1, -1, -1):
        x = xs[t]
        for i in range(n):
            for k in range(3):
                v_bar[i, k] += DT * x_bar[i, k]
                a[i, k] = DT * v_bar[i, k]  # now the cotangent of the acceleration
        pair = 0
        for i in range(n):
            for j in range(i):
                dx, dy, dz = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2]
                u, w = kept[t, pair, 0], kept[t, pair, 1]
                pair += 1
                along_i = a[i, 0] * dx + a[i, 1] * dy + a[i, 2] * dz
                along_j = a[j, 0] * dx + a[j, 1] * dy + a[j, 2] * dz
                masses_bar[j] += w * along_i
                masses_bar[i] -= w * along_j
                p, q = w * masses[j], w * masses[i]
                h = -3.0 * u * w * (masses[j] * along_i - masses[i] * along_j)
                gx = p * a[i, 0] - q * a[j, 0] + h * dx
                gy = p * a[i, 1] - q * a[j, 1] + h * dy
                gz = p * a[i, 2] - q * a[j, 2] + h * dz
                x_bar[j, 0] += gx
                x_bar[j, 1] += gy
                x_bar[j, 2] += gz
                x_bar[i, 0] -= gx
                x_bar[i, 1] -= gy
                x_bar[i, 2] -= gz
    return total, x_bar, masses_bar


def torch_loss(x, masses):
    v = torch.zeros_like(x)
    for _ in range(STEPS):
        d = x[None] - x[:, None]
        r2 = (d * d).sum(-1) + SOFT
        v = v + DT * ((masses / (r2 * r2.sqrt()))[..., None] * d).sum(1)
        x = x + DT * v
    return (x * x).sum()


def torch_gradient(x0, masses):
    x, m = torch.tensor(x0, requires_grad=True), torch.tensor(masses, requires_grad=True)

    def call():
        loss = torch_loss(x, m)
        return loss, torch.autograd.grad(loss, (x, m))

    return call


if jax is not None:
    jnp = jax.numpy

    def jax_loss(x, masses):
        def step(state, _):
            x, v = state
            d = x[None] - x[:, None]
            r2 = (d * d).sum(-1) + SOFT
            v = v + DT * ((masses / (r2 * jnp.sqrt(r2)))[..., None] * d).sum(1)
            return (x + DT * v, v), None

        (x, _), _ = jax.lax.scan(step, (x, jnp.zeros_like(x)), None, STEPS)
        return (x * x).sum()

    def jax_peers(x0, masses):
        x, m = jnp.array(x0), jnp.array(masses)
        plain, slopes = jax.jit(jax_loss), jax.jit(jax.value_and_grad(jax_loss, (0, 1)))
        ready = jax.block_until_ready
        return {"JAX jit": lambda: ready(plain(x, m))}, {"JAX jit, reverse": lambda: ready(slopes(x, m))}


if warp is not None:
    wp, f8, v3 = warp, warp.float64, warp.types.vector(3, warp.float64)

    @wp.kernel
    def warp_kernel(
        x0: wp.array(dtype=v3),
        masses: wp.array(dtype=f8),
        n: int,
        steps: int,
        x: wp.array2d(dtype=v3),
        v: wp.array2d(dtype=v3),
        loss: wp.array(dtype=f8),
    ):
        for i in range(n):
            x[0, i] = x0[i]
        for t in range(steps):
            for i in range(n):
                a = v3(f8(0.0), f8(0.0), f8(0.0))
                for j in range(n):
                    d = x[t, j] - x[t, i]
                    r2 = wp.dot(d, d) + f8(0.01)
                    a += masses[j] / (r2 * wp.sqrt(r2)) * d
                v[t + 1, i] = v[t, i] + f8(0.01) * a
                x[t + 1, i] = x[t, i] + f8(0.01) * (v[t, i] + f8(0.01) * a)
        total = f8(0.0)
        for i in range(n):
            total += wp.dot(x[steps, i], x[steps, i])
        loss[0] = total

    def warp_peer(x0, masses):
        def array(data, dtype):
            return wp.array(data, dtype=dtype, device="cpu", requires_grad=True)

        x, m = array(x0, v3), array(masses, f8)
        kept = [wp.zeros((STEPS + 1, BODIES), dtype=v3, device="cpu", requires_grad=True) for _ in range(2)]
        loss = wp.zeros(1, dtype=f8, device="cpu", requires_grad=True)
        return warp_gradient(warp_kernel, 1, [x, m, BODIES, STEPS, *kept, loss], [x, m], loss)


def workloads():
    generator = np.random.default_rng(0)
    args = generator.normal(size=(BODIES, 3)), generator.uniform(0.5, 1.0, BODIES)
    ours, by_hand = native(primal), numba.njit(primal)
    w = Workload(f"{BODIES} bodies, {STEPS} steps", "hand-written reverse")
    w.line = along(by_hand, args)
    w.primals = {"hand-written": lambda: by_hand(*args), "native": lambda: ours(*args)}
    w.gradients = compiled_both_ways("hand-written reverse", reverse, *args)
    w.gradients["native, reverse"] = lambda: ours.withgradient(*args)
    if jax is not None:
        plain, slopes = jax_peers(*args)
        w.primals |= plain
        w.gradients |= slopes
    if warp is not None:
        w.gradients["Warp"] = warp_peer(*args)
    w.gradients["torch eager"] = torch_gradient(*args)
    yield w
