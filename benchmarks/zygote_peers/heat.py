"""The heat equation by a stencil that changes its arrays; the initial field and the diffusivity are differentiated."""

import numba
import numpy as np
import torch

from torchflux_zygote._native._native import native

from .common import Workload, along, compiled_both_ways, jax, warp, warp_gradient


def primal(u0, d, steps):
    n = u0.shape[0]
    u, new = u0.copy(), u0.copy()
    for _ in range(steps):
        for i in range(1, n - 1):
            new[i] = u[i] + d * (u[i - 1] - 2.0 * u[i] + u[i + 1])
        for i in range(1, n - 1):
            u[i] = new[i]
    total = 0.0
    for i in range(n):
        total += u[i] * u[i]
    return total


def reverse(u0, d, steps):
    """Kept for the way back: the field before every step. The sums for `d` run in four lanes, so that none waits."""
    n = u0.shape[0]
    us = np.empty((steps + 1, n))
    us[0] = u0
    for t in range(steps):
        u, new = us[t], us[t + 1]
        new[0], new[n - 1] = u[0], u[n - 1]
        for i in range(1, n - 1):
            new[i] = u[i] + d * (u[i - 1] - 2.0 * u[i] + u[i + 1])
    total, d_bar = 0.0, 0.0
    for i in range(n):
        total += us[steps, i] * us[steps, i]
    g, older = 2.0 * us[steps], np.empty(n)
    for t in range(steps - 1, -1, -1):
        u = us[t]
        s0 = s1 = s2 = s3 = 0.0
        stop = 1 + (n - 2) // 4 * 4
        for i in range(1, stop, 4):
            s0 += g[i] * (u[i - 1] - 2.0 * u[i] + u[i + 1])
            s1 += g[i + 1] * (u[i] - 2.0 * u[i + 1] + u[i + 2])
            s2 += g[i + 2] * (u[i + 1] - 2.0 * u[i + 2] + u[i + 3])
            s3 += g[i + 3] * (u[i + 2] - 2.0 * u[i + 3] + u[i + 4])
        for i in range(stop, n - 1):
            s0 += g[i] * (u[i - 1] - 2.0 * u[i] + u[i + 1])
        d_bar += (s0 + s1) + (s2 + s3)
        # A cell's cotangent comes from its two neighbours and itself; the two cells at the ends are only copied.
        first, last = g[0], g[n - 1]
        g[0] = g[n - 1] = 0.0
        for i in range(1, n - 1):
            older[i] = g[i] + d * (g[i - 1] - 2.0 * g[i] + g[i + 1])
        older[0], older[n - 1] = first + d * g[1], last + d * g[n - 2]
        g, older = older, g
    return total, g, d_bar


def torch_gradient(u0, d, steps):
    field, diffusivity = torch.tensor(u0, requires_grad=True), torch.tensor(d, dtype=torch.float64, requires_grad=True)

    def call():
        u = field
        for _ in range(steps):
            u = torch.cat([u[:1], u[1:-1] + diffusivity * (u[:-2] - 2.0 * u[1:-1] + u[2:]), u[-1:]])
        loss = (u * u).sum()
        return loss, torch.autograd.grad(loss, (field, diffusivity))

    return call


if jax is not None:
    jnp = jax.numpy

    def jax_loss(u, d, steps):
        def step(u, _):
            return u.at[1:-1].add(d * (u[:-2] - 2.0 * u[1:-1] + u[2:])), None

        u, _ = jax.lax.scan(step, u, None, steps)
        return (u * u).sum()

    def jax_peers(u0, d, steps):
        u, d = jnp.array(u0), jnp.array(d)
        plain = jax.jit(jax_loss, static_argnums=2)
        slopes = jax.jit(jax.value_and_grad(jax_loss, (0, 1)), static_argnums=2)
        ready = jax.block_until_ready
        return {"JAX jit": lambda: ready(plain(u, d, steps))}, {"JAX jit, reverse": lambda: ready(slopes(u, d, steps))}


if warp is not None:
    wp, f8 = warp, warp.float64

    @wp.kernel
    def warp_kernel(
        u0: wp.array(dtype=f8),
        d: wp.array(dtype=f8),
        n: int,
        steps: int,
        u: wp.array2d(dtype=f8),
        loss: wp.array(dtype=f8),
    ):
        for i in range(n):
            u[0, i] = u0[i]
        for t in range(steps):
            u[t + 1, 0] = u[t, 0]
            u[t + 1, n - 1] = u[t, n - 1]
            for i in range(1, n - 1):
                u[t + 1, i] = u[t, i] + d[0] * (u[t, i - 1] - f8(2.0) * u[t, i] + u[t, i + 1])
        total = f8(0.0)
        for i in range(n):
            total += u[steps, i] * u[steps, i]
        loss[0] = total

    def warp_peer(u0, d, steps):
        field, diffusivity = (wp.array(x, dtype=f8, device="cpu", requires_grad=True) for x in (u0, np.array([d])))
        u = wp.zeros((steps + 1, len(u0)), dtype=f8, device="cpu", requires_grad=True)
        loss = wp.zeros(1, dtype=f8, device="cpu", requires_grad=True)
        inputs = [field, diffusivity, len(u0), steps, u, loss]
        return warp_gradient(warp_kernel, 1, inputs, [field, diffusivity], loss)


def workloads():
    generator = np.random.default_rng(0)
    ours, by_hand = native(primal), numba.njit(primal)
    for cells, steps in ((100, 100), (1_000, 500)):
        args = generator.normal(size=cells), 0.1, steps
        w = Workload(f"Heat equation, {cells:,} cells, {steps:,} steps", "hand-written reverse")
        w.line = along(by_hand, args[:2], steps)
        w.primals = {"hand-written": lambda args=args: by_hand(*args), "native": lambda args=args: ours(*args)}
        w.gradients = compiled_both_ways("hand-written reverse", reverse, *args)
        w.gradients["native, reverse"] = lambda args=args: ours.withgradient(*args)
        if jax is not None:
            plain, slopes = jax_peers(*args)
            w.primals |= plain
            w.gradients |= slopes
        if warp is not None:
            w.gradients["Warp"] = warp_peer(*args)
        w.gradients["torch eager"] = torch_gradient(*args)
        yield w
