"""Physics-informed training against the peers, side by side in one run.

python benchmarks/physics.py [--rounds N] [--deepxde]

An iteration of Adam on DeepXDE's Burgers set-up (2,540 interior, 80 boundary and 160 initial points, 3 hidden layers of
20 tanh), float32, one thread, processor time; then loss and gradient of equations of third and fourth order. JAX takes
part where it is installed, DeepXDE (its PyTorch backend) with --deepxde.
"""

import argparse
import math
import time
import warnings
from importlib.util import find_spec

import numpy as np
import torch
from timing import alternate, table

from torchflux_physics import Dirichlet, Initial, Interval, Points, Problem, compiled, perceptron, residuals

NU = 0.01 / math.pi
SIZES = (2, 20, 20, 20, 1)
COUNTS = {"pde": 2540, "walls": 80, "start": 160}


def burgers_problem():
    domain = Interval("x", -1, 1) * Interval("t", 0, 0.99)
    conditions = {
        "walls": Dirichlet("u", 0.0, on=domain.boundary),
        "start": Initial("u", lambda x: -torch.sin(math.pi * x), on=domain.start),
    }
    return Problem(domain, {"pde": lambda u, nu: u.t + u * u.x - nu * u.xx}, conditions, params={"nu": NU})


def network():
    torch.manual_seed(0)
    return perceptron(2, 20, 3)


def stepper(losses, model, batch):
    """One iteration of Adam."""
    opt = torch.optim.Adam(model.parameters(), 1e-3, fused=True)

    def step():
        opt.zero_grad()
        loss = torch.stack(list(losses(model, batch).values())).sum()
        loss.backward()
        opt.step()
        return loss

    return step


def nested(model, batch):
    """What everybody writes: the losses of Burgers' equation by autograd inside autograd."""
    x = batch["pde"].points.detach().requires_grad_()
    u = model(x)
    (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), x, create_graph=True)
    residual = first[:, 1] + u[:, 0] * first[:, 0] - NU * second[:, 0]
    start = batch["start"].points
    return {
        "pde": residual.square().mean(),
        "walls": model(batch["walls"].points).square().mean(),
        "start": (model(start)[:, 0] + torch.sin(math.pi * start[:, 0])).square().mean(),
    }


def of_jax(model, batch):
    """One jitted iteration of Adam, with derivatives by forward mode twice."""
    import jax
    import jax.numpy as jnp

    weights = [jnp.asarray(p.detach().numpy()) for p in model.parameters()]
    inner, walls, start = (jnp.asarray(batch[name].points.numpy()) for name in COUNTS)

    def net(p, x):
        for w, b in zip(p[:-2:2], p[1:-2:2], strict=True):
            x = jnp.tanh(w @ x + b)
        return (p[-2] @ x + p[-1])[0]

    def losses(p):
        ex, et = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])

        def residual(x):
            slope = lambda x: jax.jvp(lambda x: net(p, x), (x,), (ex,))
            (u, ux), (_, uxx) = jax.jvp(slope, (x,), (ex,))
            return jax.jvp(lambda x: net(p, x), (x,), (et,))[1] + u * ux - NU * uxx

        at = jax.vmap(lambda x: net(p, x))
        initial = at(start) + jnp.sin(math.pi * start[:, 0])
        return (jax.vmap(residual)(inner) ** 2).mean() + (at(walls) ** 2).mean() + (initial**2).mean()

    @jax.jit
    def iteration(p, m, v, k):
        loss, g = jax.value_and_grad(losses)(p)
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
        rate = 1e-3 * jnp.sqrt(1 - 0.999**k) / (1 - 0.9**k)
        return [x - rate * a / (jnp.sqrt(b) + 1e-8) for x, a, b in zip(p, m, v, strict=True)], m, v, k + 1, loss

    state = [weights, [0 * w for w in weights], [0 * w for w in weights], 1]

    def step():
        *state[:], loss = iteration(*state)
        return np.asarray(loss)

    return step


def of_deepxde():
    """Iterations by the hundred, as its `train` is meant to be called."""
    import os

    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde as dde

    geometry = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 0.99))
    walls = dde.icbc.DirichletBC(geometry, lambda x: 0, lambda _, on: on)
    start = dde.icbc.IC(geometry, lambda x: -np.sin(np.pi * x[:, 0:1]), lambda _, on: on)

    def pde(x, y):
        dx, dt = dde.grad.jacobian(y, x, i=0, j=0), dde.grad.jacobian(y, x, i=0, j=1)
        return dt + y * dx - NU * dde.grad.hessian(y, x, i=0, j=0)

    data = dde.data.TimePDE(geometry, pde, [walls, start], num_domain=2540, num_boundary=80, num_initial=160)
    model = dde.Model(data, dde.nn.FNN(list(SIZES), "tanh", "Glorot normal"))
    model.compile("adam", lr=1e-3)
    return lambda: model.train(iterations=10, display_every=10**6, verbose=0)


def burgers(arguments):
    problem, model = burgers_problem(), network()
    batch = problem.sample(COUNTS, generator=torch.Generator().manual_seed(0))
    fast, first = compiled(problem), time.perf_counter()
    plain, machine, other = (f(model, batch) for f in (problem, fast, nested))
    print(f"compiled in {time.perf_counter() - first:.0f} s")
    for name in plain:
        gap = max(abs(plain[name] - machine[name]), abs(plain[name] - other[name])) / plain[name]
        assert gap < 1e-4, (name, gap)
    peers = {
        "torchflux, compiled": stepper(fast, network(), batch),
        "torchflux": stepper(problem, network(), batch),
        "nested autograd": stepper(nested, network(), batch),
    }
    if find_spec("jax"):
        peers["JAX, jit"] = of_jax(network(), batch)
    seconds = alternate(peers, arguments.rounds, 0.1, time.process_time)
    if arguments.deepxde:
        ten = alternate({"DeepXDE": of_deepxde()}, max(4, arguments.rounds // 4), 0.1, time.process_time)["DeepXDE"]
        seconds["DeepXDE on PyTorch (not alternated)"] = [s / 10 for s in ten] * (arguments.rounds // len(ten))
    table("An iteration of Adam on Burgers' equation", seconds, "torchflux, compiled")


HIGHER = {
    "KdV, third order": (lambda u: u.t + 6 * u * u.x + u.xxx, 3, lambda u, d: d["t"] + 6 * u * d["x"] + d["xxx"]),
    "beam, fourth order": (lambda u: u.t + u.xxxx, 4, lambda u, d: d["t"] + d["xxxx"]),
}


def chain_of_grads(model, points, order):
    """Derivatives in x up to an order, and in t, by autograd inside autograd."""
    x = points.detach().requires_grad_()
    u = model(x)
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    found, name = {"t": slope[:, 1], "x": slope[:, 0]}, "x"
    for _ in range(order - 1):
        (slope,) = torch.autograd.grad(slope[:, 0].sum(), x, create_graph=True)
        name += "x"
        found[name] = slope[:, 0]
    return u[:, 0], found


def higher_orders(arguments):
    points = torch.rand(2540, 2, generator=torch.Generator().manual_seed(0))
    for name, (residual, order, by_hand) in HIGHER.items():
        peers = gradients(residual, order, by_hand, points)
        seconds = alternate(peers, arguments.rounds, 0.1, time.process_time)
        table(f"{name}: loss and gradient", seconds, "torchflux, compiled", "torchflux")


def gradients(residual, order, by_hand, points):
    """The gradient of an equation's loss, ours and by hand."""
    model = network()
    parts = list(model.parameters())[:-1]
    slopes = lambda loss: torch.autograd.grad(loss, parts, allow_unused=True)
    problem = Problem(Interval("x", 0, 1) * Interval("t", 0, 1), residual)
    batch, fast = {"equation": Points(points)}, compiled(problem)
    hand = lambda: by_hand(*chain_of_grads(model, points, order)).square().mean()
    ours = lambda: residuals(residual, model, points)["residual"].square().mean()
    assert abs(hand() - ours()) < 1e-3 * hand()
    return {
        "torchflux, compiled": lambda: slopes(fast(model, batch)["equation"]),
        "torchflux": lambda: slopes(ours()),
        "nested autograd": lambda: slopes(hand()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--deepxde", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    burgers(arguments)
    higher_orders(arguments)


if __name__ == "__main__":
    main()
