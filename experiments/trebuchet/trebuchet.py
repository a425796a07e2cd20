"""A trebuchet learns to aim: a network is trained through the simulation of its throws.

The task is a distance and a wind, the aim an angle of release and a counterweight that hit it. A network gives the aim;
how far off the throw lands is a function of the aim through three differential equations and the events that end them
(throw.py), and the derivative of that reaches the network's weights. The idea: Innes, Joy & Karmali (2019),
"Differentiable control problems". Two ways to train:

    gauss-newton  a throw has one number for its error and two for its aim, so one sweep through the simulation gives
                  the derivatives of all of a step's errors; damped by their mean square
    adam          the usual
"""

import math
import time
import timeit
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import torch
from picture import draw
from throw import POUND, Aim, distance
from torch.func import jacrev, vmap
from tqdm import tqdm

from torchflux import Adam, Chain, Dense, adjust, back, destructure, loadmodel, tanh
from torchflux_diffeq import PID
from torchflux_lab import Checkpoint, Metrics
from torchflux_zygote import native

# Of a reproduction: times are never the same, and errors of 4e-5 rest on the last digits of a network in float32.
TOLERANCES = {"*seconds*": None, "*processor": None, "training.errors": None, "*": 0.7}


@dataclass
class Parameters:
    seed: int = 0
    rule: Literal["gauss-newton", "adam"] = "gauss-newton"
    steps: int = 50
    throws: int = field(default=256, metadata={"help": "in each step, with new tasks"})
    hidden: int = 16
    rate: float = field(default=0.03, metadata={"help": "of Adam, at first"})
    near: float = field(default=20.0, metadata={"help": "the nearest target (m)"})
    far: float = field(default=80.0, metadata={"help": "the farthest target (m)"})
    wind: float = field(default=7.0, metadata={"help": "the strongest wind, from ahead or behind (m/s)"})
    angles: tuple[float, float] = field(default=(10.0, 80.0), metadata={"help": "of release (degrees)"})
    masses: tuple[float, float] = field(default=(20.0, 600.0), metadata={"help": "of the counterweight (kg)"})
    tests: int = field(default=1000, metadata={"help": "tasks that are held out"})
    optimised: int = field(default=5, metadata={"help": "of these, how many are also aimed one by one"})


TRAINING = PID(1e-5, 1e-7)
EXACT = PID(1e-9, 1e-11)


def make_tasks(p, n, rng):
    """Distances (m) and tail winds (m/s), (n, 2)."""
    u = torch.rand(n, 2, generator=rng, dtype=torch.float64)
    return torch.stack([p.near + (p.far - p.near) * u[:, 0], p.wind * (2 * u[:, 1] - 1)], -1)


def make_model(p):
    torch.manual_seed(p.seed)
    centre, reach = (p.near + p.far) / 2, (p.far - p.near) / 2
    scaled = lambda x: (x - torch.tensor([centre, 0.0])) / torch.tensor([reach, p.wind])
    return Chain(scaled, Dense(2, p.hidden, tanh), Dense(p.hidden, p.hidden, tanh), Dense(p.hidden, 2)).double()


def aimed(knobs, tasks, p):
    """Any two numbers (n, 2) as an aim within the bounds: the angle evenly, the counterweight by its logarithm."""
    angle, mass = torch.sigmoid(knobs).unbind(-1)
    (low, high), (light, heavy) = p.angles, p.masses
    return Aim(torch.deg2rad(low + (high - low) * angle), light * (heavy / light) ** mass, tasks[:, 1])


def miss(knobs, tasks, p, controller):
    """How far off the throws land, as a part of the distance, (n,)."""
    return distance(aimed(knobs, tasks, p), controller) / tasks[:, 0] - 1


# The two ways to train. Both yield each step's errors, and say what `steps` has to keep for a run that is resumed.


def gauss_newton(model, p, rng, steps):
    weights, rebuild = destructure(model)  # (parameters,)
    knobs_of = lambda weights, task: rebuild(weights)(task)
    now = SimpleNamespace(weights=weights.detach(), damping=1.0)
    for _ in steps(now=now):
        weights = now.weights
        tasks = make_tasks(p, p.throws, rng)
        knobs = knobs_of(weights, tasks).requires_grad_()
        error = miss(knobs, tasks, p, TRAINING)
        (slope,) = torch.autograd.grad(error.sum(), knobs)  # (throws, 2), each throw's own
        each = vmap(jacrev(knobs_of), (None, 0))(weights, tasks)  # (throws, 2, parameters)
        jacobian = torch.einsum("tk,tkp->tp", slope, each)
        error = error.detach()
        normal = jacobian.T @ jacobian / p.throws + now.damping * torch.eye(len(weights), dtype=weights.dtype)
        now.weights = weights - torch.linalg.solve(normal, jacobian.T @ error / p.throws)
        now.damping = min(1.0, max(1e-7, 0.1 * error.square().mean().item()))
        yield error
    loadmodel(model, rebuild(now.weights))


def adam(model, p, rng, steps):
    opt = Adam(list(model.parameters()), p.rate)
    for step in steps(model=model, opt=opt):
        tasks = make_tasks(p, p.throws, rng)
        error = miss(model(tasks), tasks, p, TRAINING)
        back(error.abs().mean())
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        yield error.detach()


# What the network is compared with: aims found by optimisation, through the same simulation.


def optimise(tasks, p):
    """Newton's method for each task (n, 2), from 45° and 200 pounds: errors (n,), number of throws, seconds of an aim.

    One equation has two unknowns: it goes along the slope, by at most 1.
    """
    clock, throws = time.perf_counter(), 1
    (low, high), (light, heavy) = p.angles, p.masses
    parts = torch.tensor([(45 - low) / (high - low), math.log(200 * POUND / light) / math.log(heavy / light)])
    knobs = parts.double().logit().repeat(len(tasks), 1).requires_grad_()
    while (error := miss(knobs, tasks, p, TRAINING)).abs().max() > 1e-5 and throws < 30:
        (slope,) = torch.autograd.grad(error.sum(), knobs)
        length = slope.norm(dim=1, keepdim=True)
        knobs = knobs.detach() - slope / length * (error.detach()[:, None] / length).clamp(-1, 1)
        knobs.requires_grad_()
        throws += 1
    seconds = (time.perf_counter() - clock) / len(tasks)
    with torch.no_grad():
        return miss(knobs, tasks, p, EXACT).abs(), throws, seconds


# How long an aim takes: the network by PyTorch, one or many at once, and as machine code.


def compiled(model, p):
    """The network as a function of two floats in machine code."""
    (w1, b1), (w2, b2), (w3, b3) = [(x.weight.detach().numpy(), x.bias.detach().numpy()) for x in list(model)[1:]]
    centre, reach, wind = (p.near + p.far) / 2, (p.far - p.near) / 2, p.wind
    (low, high), (light, heavy) = p.angles, p.masses

    @native
    def aim(target, tail):
        x = np.array([(target - centre) / reach, tail / wind])
        knobs = w3 @ np.tanh(w2 @ np.tanh(w1 @ x + b1) + b2) + b3
        angle, mass = 1 / (1 + np.exp(-knobs[0])), 1 / (1 + np.exp(-knobs[1]))
        return math.radians(low + (high - low) * angle), light * (heavy / light) ** mass

    return aim


@torch.no_grad()
def network_seconds(model, p):
    """Of an aim: the least of five measurements."""
    one, fast = torch.tensor([[50.0, 2.0]], dtype=torch.float64), compiled(model, p)
    many = one.repeat(1000, 1)
    best = lambda f, calls: min(timeit.repeat(f, number=calls, repeat=6)[1:]) / calls  # the first one compiles
    return {
        "network": best(lambda: aimed(model(one), one, p), 200),
        "network, 1000 together": best(lambda: aimed(model(many), many, p), 20) / 1000,
        "network, machine code": best(lambda: fast(50.0, 2.0), 2000),
    }


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    model, rng, metrics = make_model(p), torch.Generator().manual_seed(p.seed), Metrics(out)
    so_far = SimpleNamespace(seconds=0.0, processor=0.0, errors=[])
    steps = lambda **state: Checkpoint(out, rng=rng, so_far=so_far, **state).steps(p.steps, every=5)
    train = {"gauss-newton": gauss_newton, "adam": adam}[p.rule](model, p, rng, steps)
    clock, processor = time.perf_counter(), time.process_time()
    for error in (bar := tqdm(train, total=p.steps, unit="step")):
        so_far.errors.append(error.abs().mean().item())
        metrics(step=len(so_far.errors), error=so_far.errors[-1])
        bar.set_postfix(error=f"{100 * so_far.errors[-1]:.4f} %")
        so_far.seconds, clock = so_far.seconds + time.perf_counter() - clock, time.perf_counter()
        so_far.processor, processor = so_far.processor + time.process_time() - processor, time.process_time()
    history = so_far.errors

    tasks = make_tasks(p, p.tests, torch.Generator().manual_seed(p.seed + 1))
    with torch.no_grad():
        error = miss(model(tasks), tasks, p, EXACT).abs()  # (tests,)
    seconds = network_seconds(model, p)
    together, _, seconds["optimisation, all together"] = optimise(tasks, p)
    singly = [optimise(task[None], p) for task in tqdm(tasks[: p.optimised], desc="one by one", unit="aim")]
    throws, seconds["optimisation"] = np.mean([row[1:] for row in singly], 0).tolist()
    torch.set_num_threads(torch_threads)
    draw(lambda tasks: aimed(model(tasks), tasks, p), tasks, error, history, p, out / "trebuchet.png")
    return {
        "training": {
            "seconds": so_far.seconds,
            "processor": so_far.processor,
            "throws": p.steps * p.throws,
            "errors": history,
        },
        "error of the network": summary(error),
        "error of optimisation": summary(together) | {"throws": throws},
        "seconds of an aim": seconds,
    }


def summary(error):
    return {"mean": error.mean().item(), "median": error.median().item(), "worst": error.max().item()}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    print("trained in {seconds:.0f} s ({processor:.0f} s of processor), {throws} throws".format(**results["training"]))
    for who in ("the network", "optimisation"):
        print("error of {}: mean {mean:.4%}, worst {worst:.4%}".format(who, **results[f"error of {who}"]))
    for name, seconds in results["seconds of an aim"].items():
        print(f"{name:28} {1e6 * seconds:12.1f} µs an aim")
