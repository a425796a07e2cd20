"""diffrax, where it is installed: compiled, in float64, every sample of a batch by `vmap`."""

import numpy as np
import torch

from diffeq_peers.workloads import ATOL, RTOL

try:
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
except ImportError:
    diffrax = None


def lotka_volterra(t, y, p):
    x, z = y
    return jnp.stack((p[0] * x - p[1] * x * z, -p[2] * z + p[3] * x * z))


def network(t, y, parameters):
    w1, b1, w2, b2 = parameters
    return w2 @ jnp.tanh(w1 @ y**3 + b1) + b2


def networks(t, y, parameters):
    """The same for a batch that shares its steps."""
    w1, b1, w2, b2 = parameters
    return jnp.tanh(y**3 @ w1.T + b1) @ w2.T + b2


def van_der_pol(t, y, mu):
    x, v = y
    return jnp.stack((v, mu * (1 - x * x) * v - x))


SLOPES = {"LotkaVolterra": lotka_volterra, "Network": network, "VanDerPol": van_der_pol}


def peers(w, forward=False, joint=False):
    """Loss and gradient of a workload, by name; nothing where diffrax isn't there."""
    if diffrax is None:
        return {}
    kind = type(w.model).__name__
    each = 0 if kind == "VanDerPol" else None
    found = {"diffrax": _gradient(w, SLOPES[kind], diffrax.RecursiveCheckpointAdjoint(), each)}
    if forward:
        found["diffrax, forward mode"] = _gradient(w, SLOPES[kind], diffrax.ForwardMode(), each, forward=True)
    if joint:
        found["diffrax, shared steps"] = _gradient(w, networks, diffrax.RecursiveCheckpointAdjoint(), each, joint=True)
    return found


def _gradient(w, slope, adjoint, each, forward=False, joint=False):
    """`each` says which axis of the parameters is the samples'."""
    y0, ts, data = (jnp.asarray(x.numpy()) for x in (w.y0, w.ts, w.data))
    parameters = [jnp.asarray(p.detach().numpy()) for p in w.model.parameters()]
    tree = parameters if len(parameters) > 1 else parameters[0]

    def solve(y, p):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(slope), diffrax.Dopri5(), ts[0], ts[-1], None, y, p, saveat=diffrax.SaveAt(ts=ts),
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL), adjoint=adjoint, max_steps=w.max_steps,
        ).ys  # fmt: skip

    def loss(p):
        ys = jax.vmap(solve, (0, each), 1)(y0, p) if w.batched and not joint else solve(y0, p)
        difference = ys - data
        return (jnp.abs(difference) if w.absolute else difference**2).mean()

    both = jax.jit((lambda p: (loss(p), jax.jacfwd(loss)(p))) if forward else jax.value_and_grad(loss))

    def run():
        value, gradient = both(tree)
        return [torch.tensor(np.asarray(x)) for x in (value, *jax.tree.leaves(gradient))]

    return run
