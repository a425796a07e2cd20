"""A controller learns what an expert wants: the costs inside constrained model-predictive control, from its actions.

A cart balances a pole; its place and its force have bounds. The expert plans a second and a half ahead, every
twentieth of a second, by a quadratic program whose costs nobody else knows (cart.py), and shows a few runs. Three ways
to imitate it:

    costs    the same program, its costs learned by differentiating its first force
    costs+l  the same, and the pole's length is not known either: the model within the program is learned too
    network  states to forces, with the bounds of the force built in

Afterwards all of them control the nonlinear cart from new places, with the wall where it was, and moved.
"""

from dataclasses import dataclass, field
from math import cos, pi
from pathlib import Path
from statistics import mean

import torch
from cart import DT, FORCE, LENGTH, Controller, step
from picture import draw
from torch.func import jacfwd
from tqdm import tqdm

from torchflux import Adam, Chain, Dense, adjust, back, tanh, trainables

# Of a reproduction, with room for plans of which a corner lies elsewhere.
TOLERANCES = {"*": (0.05, 0.03)}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "the first of the seeds"})
    seeds: int = field(default=3, metadata={"help": "how many runs stand behind each number"})
    shown: tuple[int, ...] = field(default=(1, 3, 10), metadata={"help": "runs that the expert shows"})
    seconds: float = field(default=4.0, metadata={"help": "of a run"})
    noise: float = field(default=0.3, metadata={"help": "of the hand of the expert that shows (N)"})
    tests: int = field(default=60, metadata={"help": "runs of each controller"})
    wall: float = field(default=0.6, metadata={"help": "how far the cart may go (m)"})
    moved: float = field(default=0.45, metadata={"help": "how far after the training (m)"})
    steps: int = field(default=15, metadata={"help": "of Levenberg and Marquardt's method for the costs"})
    network_steps: int = field(default=3000, metadata={"help": "of Adam, with 32 pairs"})


COSTS = torch.tensor([10.0, 1.0, 100.0, 3.0], dtype=torch.float64)  # of the state's squares; that of the force is 0.1
TRUTH = torch.cat([COSTS, torch.tensor([LENGTH]).double()])
EXPERT = Controller(TRUTH.log())
START = torch.tensor([0.9, 1.0, 0.3, 1.0], dtype=torch.float64)  # the most, place in parts of the wall


# The cart driven by a controller, any function of (states, wall, plan) that gives (forces, plan).


@torch.no_grad()
def drive(controller, state, wall, p, noise=None):
    """States (times + 1, b, 4) and forces (times, b); of the plan's factorised systems, the mean."""
    states, forces, systems, plan = [state], [], [], None
    for _ in range(round(p.seconds / DT)):
        force, plan = controller(state, wall, plan)
        if noise is not None:
            force = force + p.noise * torch.randn(force.shape, generator=noise, dtype=force.dtype)
            force = force.clamp(-FORCE, FORCE)
        state = step(state, force)
        states, forces = [*states, state], [*forces, force]
        systems += [] if plan is None else [plan.iterations.double().mean().item()]
    return torch.stack(states), torch.stack(forces), systems


def starts(n, wall, p, rng):
    """From where the expert, without noise, keeps within the wall: (n, 4)."""
    found = torch.zeros(0, 4, dtype=torch.float64)
    while len(found) < n:
        some = (2 * torch.rand(2 * n, 4, generator=rng, dtype=torch.float64) - 1) * START
        some[:, 0] *= wall
        states, *_ = drive(EXPERT, some, wall, p)
        found = torch.cat([found, some[states[..., 0].abs().amax(0) <= wall]])
    return found[:n]


# The ways to imitate.


def learn_costs(states, forces, p, knows_length):
    """Levenberg and Marquardt's method on the logarithms of costs and length, the Jacobian in forward mode."""
    start = torch.tensor([1.0, 1.0, 1.0, 1.0, LENGTH if knows_length else 2 * LENGTH]).double().log()
    free = 4 if knows_length else 5
    completed = lambda weights: torch.cat([weights, start[free:]])
    errors = lambda weights: Controller(completed(weights))(states, p.wall)[0] - forces  # (pairs,)
    weights, damping, looks = start[:free], 1.0, [start.exp().tolist()]
    with torch.no_grad():
        now = errors(weights)
        for _ in range(p.steps):
            jacobian = jacfwd(errors)(weights)  # (pairs, free)
            normal = jacobian.T @ jacobian + damping * torch.eye(free).double()
            tried = weights - torch.linalg.solve(normal, jacobian.T @ now).clamp(-1, 1)
            then = errors(tried)
            if then.square().sum() < now.square().sum():
                weights, now, damping = tried, then, damping / 10
            else:
                damping *= 10
            looks.append(completed(weights).exp().tolist())
    return Controller(completed(weights)), torch.tensor(looks)


def learn_network(states, forces, p, rng):
    torch.manual_seed(rng.initial_seed())
    net = Chain(lambda x: x / START, Dense(4, 64, tanh), Dense(64, 64, tanh), Dense(64, 1), torch.ravel).double()
    opt = Adam(trainables(net), 0.003)
    for k in range(p.network_steps):
        i = torch.randint(len(states), (32,), generator=rng)
        back((FORCE * net(states[i]).tanh() - forces[i]).square().mean())
        adjust(opt, 0.003 * (1 + cos(pi * k / p.network_steps)) / 2)
        opt()
    return lambda state, wall, before: (FORCE * net(state).tanh(), None)


# The measures.


def scores(states, forces, wall, expert):
    """Of runs: which leave the wall's bounds or fall; at how many times; the cost in parts of the expert's."""
    place, angle = states[..., 0].abs(), states[..., 2].abs()
    cost = lambda states, forces: (states[1:].square() @ COSTS).sum() + 0.1 * forces.square().sum()
    beyond = place > wall
    return {
        "runs beyond the wall": beyond.any(0).double().mean().item(),
        "times beyond the wall": beyond.double().mean().item(),
        "runs that fall": (angle > pi / 2).any(0).double().mean().item(),
        "cost": (cost(states, forces) / cost(*expert[:2])).item(),
    }


def run(seed, p):
    """One seed: scores, weights of every step, and states by shown runs and controller; for both places of the wall."""
    rng = torch.Generator().manual_seed(seed)
    tests = {wall: starts(p.tests, wall, p, rng) for wall in (p.wall, p.moved)}
    expert = {wall: drive(EXPERT, begin, wall, p) for wall, begin in tests.items()}
    shown, forces, _ = drive(EXPERT, starts(max(p.shown), p.wall, p, rng), p.wall, p, noise=rng)
    found, weights, paths = {}, {}, {("expert", 0, wall): states for wall, (states, *_) in expert.items()}
    for n in (bar := tqdm(p.shown, unit="set of runs", desc=f"seed {seed}")):
        pairs = shown[:-1, :n].reshape(-1, 4), forces[:, :n].reshape(-1)
        controllers = {"network": learn_network(*pairs, p, rng)}
        for name, knows_length in (("costs", True), ("costs+l", False)):
            controllers[name], weights[name, n] = learn_costs(*pairs, p, knows_length)
        for name, controller in controllers.items():
            for wall, begin in tests.items():
                paths[name, n, wall], tried, _ = drive(controller, begin, wall, p)
                found[name, n, wall] = scores(paths[name, n, wall], tried, wall, expert[wall])
        bar.set_postfix(costs=[round(x, 2) for x in weights["costs", n][-1].tolist()])
    return found, weights, paths


def warmth(p):
    """Factorised systems of a plan, begun with the plan before and without it."""
    begin = starts(p.tests, p.wall, p, torch.Generator().manual_seed(p.seed))
    cold = lambda state, wall, before: EXPERT(state, wall)
    return {name: mean(drive(c, begin, p.wall, p)[2]) for name, c in (("warm", EXPERT), ("cold", cold))}


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    runs = [run(p.seed + k, p) for k in range(p.seeds)]
    draw(runs, TRUTH.tolist(), p, out / "mpc.png")
    together = {key: [found[key] for found, *_ in runs] for key in runs[0][0]}
    control = {
        f"{name}, {n} shown, wall at {wall:g} m": {what: [row[what] for row in rows] for what in rows[0]}
        for (name, n, wall), rows in together.items()
    }
    learned = {
        f"{name}, {n} shown": [weights[name, n][-1].tolist() for _, weights, _ in runs] for name, n in runs[0][1]
    }
    systems = warmth(p)
    torch.set_num_threads(torch_threads)
    return {"control": control, "true weights": TRUTH.tolist(), "weights": learned, "systems": systems}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name, row in results.pop("control").items():
        print(f"{name:34}", *(f"{what} {mean(x):.3f}" for what, x in row.items()), sep="  ")
    for name, row in results.items():
        print(name, row)
