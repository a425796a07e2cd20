"""DeepXDE on one backend, as a process: `of_deepxde.py steps`, or `of_deepxde.py error WAY SEED LIMIT`.

`steps` reads numbers of iterations of Adam and prints the processor seconds of each. `error` trains in one of `WAYS`,
by Adam and then L-BFGS where the backend has it, and prints looks at the error.
"""

import json
import sys
import time

import deepxde as dde
import numpy as np

from physics_peers.burgers import COUNTS, END, NU, SIZES, Looks

WAYS = {
    "example": {"dtype": "float32", "iterations": 15_000},
    "float64": {"dtype": "float64", "iterations": 5_000},
    "hard": {"dtype": "float64", "iterations": 5_000, "hard": True},
    "adam": {"dtype": "float32", "iterations": 10**6},
}
ADAM_EVERY, LBFGS_EVERY = 250, 100
JAX = dde.backend.backend_name == "jax"


def pde(x, y):
    slopes = dde.grad.jacobian(y, x, i=0, j=0), dde.grad.jacobian(y, x, i=0, j=1), dde.grad.hessian(y, x, i=0, j=0)
    dx, dt, dxx = (each[0] for each in slopes) if JAX else slopes
    return dt + (y[0] if JAX else y) * dx - NU * dxx


def model(seed, hard=False):
    """DeepXDE's `examples/pinn_forward/Burgers.py`; or with the conditions built in, and as many points."""
    dde.config.set_random_seed(seed)
    geometry = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, END))
    net = dde.nn.FNN(list(SIZES), "tanh", "Glorot normal")
    if hard:
        import torch

        sine = lambda x: torch.sin(np.pi * x[:, :1])
        net.apply_output_transform(lambda x, y: -sine(x) + x[:, 1:] * (1 - x[:, :1] ** 2) * y)
        return dde.Model(dde.data.TimePDE(geometry, pde, [], num_domain=3000), net)
    walls = dde.icbc.DirichletBC(geometry, lambda x: 0, lambda _, on: on)
    start = dde.icbc.IC(geometry, lambda x: -np.sin(np.pi * x[:, 0:1]), lambda _, on: on)
    numbers = {"num_domain": COUNTS["pde"], "num_boundary": COUNTS["walls"], "num_initial": COUNTS["start"]}
    return dde.Model(dde.data.TimePDE(geometry, pde, [walls, start], **numbers), net)


def train(net, iterations=None, **options):
    net.train(iterations=iterations, display_every=10**9, verbose=0, **options)


def steps():
    net = model(0)
    net.compile("adam", lr=1e-3, verbose=0)
    for line in sys.stdin:
        begun = time.process_time()
        train(net, int(line))
        print(json.dumps(time.process_time() - begun), flush=True)


class Watch(dde.callbacks.Callback):
    """A look after every so many calls of the optimiser."""

    def __init__(self, looks, stage, every):
        super().__init__()
        self.looks, self.stage, self.every, self.calls = looks, stage, every, 0

    def on_epoch_end(self):
        self.calls += 1
        done = f"{self.stage} {self.model.train_state.iteration}"
        if self.calls % self.every == 0 and self.looks(done, lambda points: self.model.predict(points)):
            self.model.stop_training = True


def error(seed, limit, dtype, iterations, hard=False):
    dde.config.set_default_float(dtype)
    looks = Looks(limit)
    net = model(seed, hard)
    net.compile("adam", lr=1e-3, verbose=0)
    train(net, iterations, callbacks=[Watch(looks, "Adam", ADAM_EVERY)])
    if net.stop_training or JAX:
        return
    options = dde.optimizers.LBFGS_options
    options["fun_per_step"] = options["fun_per_step"] * LBFGS_EVERY // options["iter_per_step"]
    options["iter_per_step"] = LBFGS_EVERY  # a call can be looked at; the memory stays from call to call
    net.compile("L-BFGS", verbose=0)
    train(net, callbacks=[Watch(looks, "L-BFGS", 1)])
    looks(f"L-BFGS has ended {net.train_state.iteration}", net.predict)


if __name__ == "__main__":
    if not JAX:
        import torch

        torch.set_num_threads(1)
    if sys.argv[1] == "steps":
        steps()
    else:
        error(int(sys.argv[3]), float(sys.argv[4]), **WAYS[sys.argv[2]])
