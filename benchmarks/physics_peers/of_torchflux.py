"""Ours, as a process: `of_torchflux.py error WAY SEED LIMIT`, in one of `WAYS`: Adam, then BFGS, not compiled.

A training of some thousand evaluations is over before it would have been compiled.
"""

import math
import sys

import torch

from physics_peers.burgers import COUNTS, END, NU, Looks
from torchflux import Adam, adjust, back, trainables
from torchflux_physics import BFGS, Dirichlet, Hard, Initial, Interval, Problem, perceptron, refined

DOMAIN = Interval("x", -1, 1) * Interval("t", 0, END)
EQUATION = {"pde": lambda u: u.t + u * u.x - NU * u.xx}
SOFT = Problem(
    DOMAIN,
    EQUATION,
    {
        "walls": Dirichlet("u", 0.0, on=DOMAIN.boundary),
        "start": Initial("u", lambda x: -torch.sin(math.pi * x), on=DOMAIN.start),
    },
)
"""With losses of the conditions, as DeepXDE's."""
HARD = Problem(DOMAIN, EQUATION)
ADAM, RATE, CALL, CALLS, ROUND = 600, 0.005, 100, 30, 4
"""Iterations and first rate of Adam; iterations in a call of BFGS, calls, and calls in a round with the same points."""


def example(rng):
    """Problem, model, and a function that draws a batch, always the same: DeepXDE's example."""
    batch = SOFT.sample(COUNTS, generator=rng, method="sobol", dtype=torch.float64)
    return SOFT, perceptron(2, 20, 3).double(), lambda model: batch


def hard(rng):
    """As experiments/burgers: conditions built in, a third of the points drawn anew where the equation is met worst."""
    fixed = HARD.sample({"pde": 2000}, generator=rng, method="sobol", dtype=torch.float64)["pde"]
    model = Hard(perceptron(2, 20, 3).double(), lambda u, x, t: -torch.sin(math.pi * x) + t * (1 - x**2) * u)
    return HARD, model, lambda model: {"pde": refined(HARD, model, "pde", fixed, 1000, generator=rng)}


WAYS = {"example": example, "hard": hard}


def error(way, seed, limit):
    looks = Looks(limit)
    torch.manual_seed(seed)
    problem, model, draw = way(torch.Generator().manual_seed(seed))
    predict = lambda points: model(torch.from_numpy(points)).detach().numpy()
    opt, polish, batch = Adam(trainables(model), RATE), BFGS(model), draw(model)
    for step in range(ADAM):
        back(problem.total(problem(model, batch)))
        adjust(opt, RATE * (1 + math.cos(math.pi * step / ADAM)) / 2)
        opt()
    looks(f"Adam {ADAM}", predict)
    for k in range(CALLS):
        if k % ROUND == 0:
            batch = draw(model)
        polish(lambda: problem.total(problem(model, batch)), CALL)  # noqa: B023 (called at once)
        if looks(f"BFGS {(k + 1) * CALL}", predict):
            return


if __name__ == "__main__":
    torch.set_num_threads(1)
    error(WAYS[sys.argv[2]], int(sys.argv[3]), float(sys.argv[4]))
