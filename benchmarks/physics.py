"""Physics-informed training against the peers, side by side in one run.

python benchmarks/physics.py [--rounds N] [--deepxde FOLDER [--seeds N] [--limit SECONDS]] [--only WORD]

All on DeepXDE's Burgers set-up (2,540 interior, 80 boundary and 160 initial points, 3 hidden layers of 20 tanh), one
thread, seconds of the processor. An iteration of Adam in float32; loss and gradient of equations of third and fourth
order; and the time from random weights to a relative error of 1e-2 and of 1e-3 against Cole and Hopf's solution.
JAX takes part where it is installed, DeepXDE with --deepxde, the folder that it is installed in:

pip install --no-deps --target FOLDER deepxde scikit-optimize scikit-learn joblib threadpoolctl pyaml PyYAML
pip install --no-deps --target FOLDER flax optax msgpack jax jaxlib ml_dtypes opt_einsum   # for its JAX backend
"""

import argparse
import math
import statistics
import time
import warnings
from importlib.util import find_spec

import torch
from physics_peers import of_jax, processes
from physics_peers.burgers import COUNTS, LEVELS, NU
from physics_peers.of_torchflux import SOFT
from timing import alternate, table

from torchflux_physics import Interval, Points, Problem, compiled, perceptron, residuals


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


def iteration(arguments):
    """An iteration of Adam; that all have the same losses is checked before."""
    model, batch = network(), SOFT.sample(COUNTS, generator=torch.Generator().manual_seed(0))
    fast, first = compiled(SOFT), time.perf_counter()
    plain, machine, other = (f(model, batch) for f in (SOFT, fast, nested))
    print(f"compiled in {time.perf_counter() - first:.0f} s")
    for name in plain:
        gap = max(abs(plain[name] - machine[name]), abs(plain[name] - other[name])) / plain[name]
        assert gap < 1e-4, (name, gap)
    peers = {
        "torchflux, compiled": stepper(fast, network(), batch),
        "torchflux": stepper(SOFT, network(), batch),
        "nested autograd": stepper(nested, network(), batch),
    }
    if find_spec("jax"):
        peers["JAX, jit"] = of_jax.stepper(network(), batch)
    others = deepxde_steps(arguments.deepxde) if arguments.deepxde else {}
    clock = lambda: time.process_time() + sum(each.spent for each in others.values())
    seconds = alternate(peers | others, arguments.rounds, 0.1, clock)
    for each in others.values():
        each.end()
    table("An iteration of Adam on Burgers' equation", seconds, "torchflux, compiled", "torchflux")


def deepxde_steps(folder):
    """DeepXDE on the backends that start."""
    found = {}
    for name, backend in processes.STEPS.items():
        steps = processes.Steps(folder, backend)
        try:
            steps()
            found[name] = steps
        except OSError as error:
            print(f"{name} doesn't start: {error}")
    return found


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


def errors(arguments):
    """Seconds to each level of the error. Peers take turns with each seed, each in a process of its own."""
    names = [name for name, (program, *_) in processes.ERRORS.items() if arguments.deepxde or program == "torchflux"]
    found = {name: [] for name in names}
    for seed in range(arguments.seeds):
        for name in names:
            try:
                looks = processes.looks(name, arguments.deepxde, seed, arguments.limit)
            except OSError as error:
                print(f"{name} breaks off: {error}")
                continue
            found[name].append((processes.times(looks), looks[-1]))
            print(f"seed {seed}, {name}: {summary(looks)}", flush=True)
    base = found[names[0]]
    columns = " | ".join(f"to {level:g} | ratio" for level in LEVELS)
    print(f"\n### Burgers' equation from random weights, {arguments.seeds} seeds\n")
    print(f"| peer | {columns} | errors at last |\n|---|{'---:|' * (2 * len(LEVELS) + 1)}")
    for name, runs in found.items():
        if runs:
            cells = [cell for k in range(len(LEVELS)) for cell in reached(runs, base, k)]
            last = ", ".join(f"{look['error']:.1e}" for _, look in runs)
            print(f"| {name} | {' | '.join(cells)} | {last} |")


def summary(looks):
    """A training in a line."""
    parts = [f"{level:g} in {each:.0f} s" for level, each in zip(LEVELS, processes.times(looks), strict=True) if each]
    last = looks[-1]
    return ", ".join([*parts, f"{last['error']:.1e} after {last['seconds']:.0f} s ({last['stage']})"])


def reached(runs, base, k):
    """Seconds to the k-th level, and their ratio to ours: the medians, or, where it isn't always reached, bounds."""
    seconds = [times[k] for times, _ in runs]
    least = [last["seconds"] if time is None else time for time, (_, last) in zip(seconds, runs, strict=True)]
    ratios = [a / times[k] for a, (times, _) in zip(least, base, strict=False) if times[k]]
    ratio = f"{statistics.median(ratios):.1f}" if ratios else "–"
    if None not in seconds:
        return f"{statistics.median(seconds):.0f} s", ratio
    reached = len(seconds) - seconds.count(None)
    return (
        f"{f'{reached} of {len(seconds)}' if reached else 'not'} in {max(least):.0f} s",
        f"> {ratio}" if ratios else ratio,
    )


PARTS = {"iteration": iteration, "orders": higher_orders, "errors": errors}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="of turns that the peers take (15)")
    parser.add_argument("--deepxde", metavar="FOLDER", help="that DeepXDE is installed in; without it, it has no part")
    parser.add_argument(
        "--seeds", type=int, default=1, help="trainings of each peer to the error; about 10 min each (1)"
    )
    parser.add_argument(
        "--limit", type=float, default=150, metavar="SECONDS", help="of the processor, a training (150)"
    )
    parser.add_argument("--only", choices=PARTS, help="this part alone")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(arguments)


if __name__ == "__main__":
    main()
