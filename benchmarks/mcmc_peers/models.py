"""What all peers sample, in float64, and our densities of it.

A position is a vector: of eight schools the mean, the log of the deviation, and eight standardised effects (Rubin,
1981, doi:10.3102/10769986006004377; not centred); of the regression ten weights and the intercept.
"""

import math

import numpy as np
import torch

from torchflux_zygote import native

EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

_rng = np.random.default_rng(0)
X = _rng.standard_normal((500, 10))
LABELS = (_rng.uniform(size=500) < 1 / (1 + np.exp(-(X @ _rng.standard_normal(10) + 0.5)))).astype(float)

NUMBERS = {"eight schools": 10, "logistic regression": 11}


@native
def eight_schools(q, y, s):
    """In machine code."""
    mean, deviation = q[0], math.exp(q[1])
    total = -(mean**2) / 50 - math.log1p((deviation / 5) ** 2) + q[1]
    for j in range(8):
        z = q[2 + j]
        r = (y[j] - mean - deviation * z) / s[j]
        total -= (z * z + r * r) / 2
    return total


@native
def logistic_regression(q, x, y):
    """In machine code."""
    e = x @ q[:10] + q[10]
    return (y * e - np.maximum(e, 0.0) - np.log(1.0 + np.exp(-np.abs(e)))).sum() - (q @ q) / 2


def eight_schools_of_chains(q, y, s):
    """In PyTorch, for positions (chains, 10)."""
    mean, logarithm, z = q[:, :1], q[:, 1], q[:, 2:]
    deviation = logarithm.exp()
    r = (y - mean - deviation[:, None] * z) / s
    prior = -(mean[:, 0] ** 2) / 50 - torch.log1p((deviation / 5) ** 2) + logarithm
    return prior - (z.square().sum(1) + r.square().sum(1)) / 2


def logistic_regression_of_chains(q, x, y):
    """In PyTorch, for positions (chains, 11)."""
    e = q[:, :10] @ x.T + q[:, 10:]
    return (y * e - torch.nn.functional.softplus(e)).sum(1) - q.square().sum(1) / 2


OURS = {
    "eight schools": (eight_schools, eight_schools_of_chains, (EFFECTS, ERRORS)),
    "logistic regression": (logistic_regression, logistic_regression_of_chains, (X, LABELS)),
}
