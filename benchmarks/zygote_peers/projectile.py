"""A projectile with quadratic drag, wind and a bounce that depends on the data; four numbers are differentiated."""

import math

import numba
import numpy as np
import torch

from torchflux_zygote._native._native import native

from .common import Workload, along, compiled_both_ways, jax, native_reverse, warp, warp_gradient

GRAVITY, DT, BOUNCE, TARGET = 9.81, 1e-3, 0.8, 10.0
START = (20.0, 0.7, 0.02, -1.5)  # speed, angle, drag, wind


def primal(speed, angle, drag, wind, steps):
    x, y = 0.0, 1.0
    vx, vy = speed * math.cos(angle), speed * math.sin(angle)
    for _ in range(steps):
        rx = vx - wind
        s = math.sqrt(rx * rx + vy * vy)
        ax = -drag * s * rx
        ay = -GRAVITY - drag * s * vy
        x += DT * vx
        y += DT * vy
        vx += DT * ax
        vy += DT * ay
        if y < 0.0:
            y = -y
            vy = -BOUNCE * vy
    return (x - TARGET) ** 2 + y * y


def duals(speed, angle, drag, wind, steps):
    """Four partial derivatives beside every number; 0 to 3 are speed, angle, drag and wind."""
    c, s = math.cos(angle), math.sin(angle)
    x, y, vx, vy = 0.0, 1.0, speed * c, speed * s
    x0 = x1 = x2 = x3 = y0 = y1 = y2 = y3 = 0.0
    p0, p1, p2, p3 = c, -speed * s, 0.0, 0.0
    q0, q1, q2, q3 = s, speed * c, 0.0, 0.0
    for _ in range(steps):
        rx, r3 = vx - wind, p3 - 1.0
        s = math.sqrt(rx * rx + vy * vy)
        i = 1.0 / s
        s0, s1 = (rx * p0 + vy * q0) * i, (rx * p1 + vy * q1) * i
        s2, s3 = (rx * p2 + vy * q2) * i, (rx * r3 + vy * q3) * i
        x += DT * vx
        x0, x1, x2, x3 = x0 + DT * p0, x1 + DT * p1, x2 + DT * p2, x3 + DT * p3
        y += DT * vy
        y0, y1, y2, y3 = y0 + DT * q0, y1 + DT * q1, y2 + DT * q2, y3 + DT * q3
        h = -DT * drag
        p0 += h * (s0 * rx + s * p0)
        p1 += h * (s1 * rx + s * p1)
        p2 += h * (s2 * rx + s * p2) - DT * s * rx
        p3 += h * (s3 * rx + s * r3)
        q0 += h * (s0 * vy + s * q0)
        q1 += h * (s1 * vy + s * q1)
        q2 += h * (s2 * vy + s * q2) - DT * s * vy
        q3 += h * (s3 * vy + s * q3)
        vx += h * s * rx
        vy += h * s * vy - DT * GRAVITY
        if y < 0.0:
            y, y0, y1, y2, y3 = -y, -y0, -y1, -y2, -y3
            vy, q0, q1, q2, q3 = -BOUNCE * vy, -BOUNCE * q0, -BOUNCE * q1, -BOUNCE * q2, -BOUNCE * q3
    u, w = 2.0 * (x - TARGET), 2.0 * y
    return (x - TARGET) ** 2 + y * y, u * x0 + w * y0, u * x1 + w * y1, u * x2 + w * y2, u * x3 + w * y3


def reverse(speed, angle, drag, wind, steps):
    """Kept for the way back: the velocity before every step, and whether it bounced."""
    tape, bounced = np.empty((steps, 2)), np.empty(steps, np.bool_)
    x, y, vx, vy = 0.0, 1.0, speed * math.cos(angle), speed * math.sin(angle)
    for t in range(steps):
        tape[t, 0], tape[t, 1] = vx, vy
        rx = vx - wind
        s = math.sqrt(rx * rx + vy * vy)
        x += DT * vx
        y += DT * vy
        vx, vy = vx - DT * drag * s * rx, vy - DT * (GRAVITY + drag * s * vy)
        bounced[t] = y < 0.0
        if y < 0.0:
            y = -y
            vy = -BOUNCE * vy
    x_bar, y_bar, p, q, drag_bar, wind_bar = 2.0 * (x - TARGET), 2.0 * y, 0.0, 0.0, 0.0, 0.0
    for t in range(steps - 1, -1, -1):
        vx, vy = tape[t, 0], tape[t, 1]
        rx = vx - wind
        s = math.sqrt(rx * rx + vy * vy)
        if bounced[t]:
            y_bar = -y_bar
            q = -BOUNCE * q
        a, b = DT * p, DT * q
        along = rx * a + vy * b
        drag_bar -= s * along
        along_over_s = drag * along / s
        r_bar = -drag * s * a - along_over_s * rx
        wind_bar -= r_bar
        p += DT * x_bar + r_bar
        q += DT * y_bar - drag * s * b - along_over_s * vy
    c, s = math.cos(angle), math.sin(angle)
    return (x - TARGET) ** 2 + y * y, p * c + q * s, speed * (q * c - p * s), drag_bar, wind_bar


def torch_loss(speed, angle, drag, wind, steps):
    x, y = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    vx, vy = speed * torch.cos(angle), speed * torch.sin(angle)
    for _ in range(steps):
        rx = vx - wind
        s = torch.sqrt(rx * rx + vy * vy)
        x, y, vx, vy = x + DT * vx, y + DT * vy, vx - DT * drag * s * rx, vy + DT * (-GRAVITY - drag * s * vy)
        if y < 0:
            y = -y
            vy = -BOUNCE * vy
    return (x - TARGET) ** 2 + y * y


def torch_gradient(steps):
    start = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in START]

    def call():
        loss = torch_loss(*start, steps)
        return loss, torch.autograd.grad(loss, start)

    return call


if jax is not None:
    jnp = jax.numpy

    def jax_loss(start, steps):
        speed, angle, drag, wind = start

        def step(_, state):
            x, y, vx, vy = state
            rx = vx - wind
            s = jnp.sqrt(rx * rx + vy * vy)
            x, y, vx, vy = x + DT * vx, y + DT * vy, vx - DT * drag * s * rx, vy + DT * (-GRAVITY - drag * s * vy)
            return x, jnp.where(y < 0, -y, y), vx, jnp.where(y < 0, -BOUNCE * vy, vy)

        state = (0.0, 1.0, speed * jnp.cos(angle), speed * jnp.sin(angle))
        x, y, _, _ = jax.lax.fori_loop(0, steps, step, state)
        return (x - TARGET) ** 2 + y * y

    def jax_peers(steps):
        start = jnp.array(START)
        plain = jax.jit(lambda a: jax_loss(a, steps))
        backward = jax.jit(jax.value_and_grad(lambda a: jax_loss(a, steps)))
        onward = jax.jit(lambda a: (jax_loss(a, steps), jax.jacfwd(jax_loss)(a, steps)))
        ready = jax.block_until_ready
        return (
            {"JAX jit": lambda: ready(plain(start))},
            {"JAX jit, reverse": lambda: ready(backward(start)), "JAX jit, jacfwd": lambda: ready(onward(start))},
        )


if warp is not None:
    wp, f8 = warp, warp.float64

    # The state is kept in an array: Warp's adjoint of numbers that a loop changes is wrong, without a word.
    @wp.kernel
    def warp_kernel(start: wp.array(dtype=f8), steps: int, s: wp.array2d(dtype=f8), loss: wp.array(dtype=f8)):
        s[0, 0] = f8(0.0)
        s[0, 1] = f8(1.0)
        s[0, 2] = start[0] * wp.cos(start[1])
        s[0, 3] = start[0] * wp.sin(start[1])
        for i in range(steps):
            vx = s[i, 2]
            vy = s[i, 3]
            rx = vx - start[3]
            speed = wp.sqrt(rx * rx + vy * vy)
            y = s[i, 1] + f8(1e-3) * vy
            w = vy + f8(1e-3) * (-f8(9.81) - start[2] * speed * vy)
            s[i + 1, 0] = s[i, 0] + f8(1e-3) * vx
            s[i + 1, 2] = vx - f8(1e-3) * start[2] * speed * rx
            if y < f8(0.0):
                s[i + 1, 1] = -y
                s[i + 1, 3] = -f8(0.8) * w
            else:
                s[i + 1, 1] = y
                s[i + 1, 3] = w
        loss[0] = (s[steps, 0] - f8(10.0)) * (s[steps, 0] - f8(10.0)) + s[steps, 1] * s[steps, 1]

    def warp_peer(steps):
        start = wp.array(np.array(START), dtype=f8, device="cpu", requires_grad=True)
        state = wp.zeros((steps + 1, 4), dtype=f8, device="cpu", requires_grad=True)
        loss = wp.zeros(1, dtype=f8, device="cpu", requires_grad=True)
        return warp_gradient(warp_kernel, 1, [start, steps, state, loss], [start], loss)


def workloads():
    ours, by_hand = native(primal), numba.njit(primal)
    for steps in (1_000, 10_000):
        w = Workload(f"Projectile, {steps:,} steps", "hand-written reverse")
        args = (*START, steps)
        w.line = along(by_hand, START, steps)
        w.primals["hand-written"] = lambda args=args: by_hand(*args)
        w.primals["native"] = lambda args=args: ours(*args)
        w.gradients |= compiled_both_ways("hand-written duals", duals, *args)
        w.gradients |= compiled_both_ways("hand-written reverse", reverse, *args)
        w.gradients["native, duals (its own choice)"] = lambda args=args: ours.withgradient(*args)
        w.gradients["native, reverse"] = native_reverse(ours, *args)
        if jax is not None:
            plain, slopes = jax_peers(steps)
            w.primals |= plain
            w.gradients |= slopes
        if warp is not None:
            w.gradients["Warp"] = warp_peer(steps)
        if steps == 1_000:
            w.gradients["torch eager"] = torch_gradient(steps)
        else:
            w.notes.append("torch eager is left out: ten times its figure above")
        yield w
