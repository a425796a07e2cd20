"""Solutions of differential equations with their gradients, against the peers, side by side in one run.

python benchmarks/diffeq.py [--rounds N] [--threads N] [--only WORD]

torchdiffeq is always there; diffrax (with JAX) and torchode take part where they are installed. All solve with
Dormand and Prince's method at the tolerances 1e-6 and 1e-8 in float64 and hand over loss and gradient, each of which
is compared with that of a solution at tolerances a thousand times smaller. A ratio under 1 is faster than torchdiffeq.
"""

import argparse
import os
import warnings

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import torch
from diffeq_peers import of_jax, of_torch
from diffeq_peers.workloads import ATOL, RTOL, lotka_volterra, neural_ode, stiff_batch
from timing import alternate, table

from torchflux_diffeq import PID, Discrete, Dopri5, per_sample, solve


def ours(w, **options):
    """Loss and gradient by `solve`."""
    options = {"solver": Dopri5(), "controller": PID(RTOL, ATOL), "max_steps": w.max_steps} | options
    return lambda: w.gradient(solve(w.model, w.y0, w.ts, **options).ys)


def errors(w, peers):
    """How far the gradients are from that of a much finer solution, relative to the largest number."""
    exact = ours(w, controller=PID(1e-3 * RTOL, 1e-3 * ATOL), max_steps=10**6)()[1:]
    found = {}
    for name, peer in peers.items():
        pairs = zip(peer()[1:], exact, strict=True)
        found[name] = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)
        assert found[name] < 1e-2, (name, found[name])
    return found


def compare(w, peers, rounds):
    print(f"\n{w.title}: largest error of the gradient")
    for name, error in errors(w, peers).items():
        print(f"  {name}: {error:.0e}")
    table(w.title, alternate(peers, rounds), "torchdiffeq")
