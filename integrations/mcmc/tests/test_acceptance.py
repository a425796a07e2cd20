"""Proposals and their acceptance, against formulas that are written out anew."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from torchflux_mcmc import hmc, mala, rwm

DTYPE = torch.float64
CHAINS = 2000


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def logdensity(x):
    """Not symmetric, and not normal."""
    return -torch.logaddexp(2 * x, -x / 2).sum(-1)


def log(x):
    return -np.logaddexp(2 * x, -x / 2).sum(-1)


def slope(x):
    share = 1 / (1 + np.exp(-2.5 * x))
    return -2 * share + (1 - share) / 2


START = torch.randn(CHAINS, 2, generator=rng(9), dtype=DTYPE)


def moved(alg):
    """Where the chains were and are, how likely each move was, and who has moved."""
    state, info = alg.step(rng(1), alg.init(START, chains=True))
    x, y, rate = START.numpy(), state.position.numpy(), np.asarray(info.acceptance_rate)
    return x, y, rate, (x != y).any(1)


def as_often_as_told(rate, accepted):
    """The number of moves is that of coins with these rates."""
    spread = math.sqrt((rate * (1 - rate)).sum())
    return abs(accepted.sum() - rate.sum()) < 4 * spread


def test_the_random_walk():
    x, y, rate, accepted = moved(rwm(logdensity, 1.5, batched=True))
    assert np.allclose(rate[accepted], np.minimum(1, np.exp(log(y) - log(x)))[accepted], rtol=1e-10)
    assert 0.2 < accepted.mean() < 0.9
    assert as_often_as_told(rate, accepted)
    assert not as_often_as_told(rate**1.3, accepted)


def test_mala_is_metropolis_hastings():
    """With the densities of its proposals, which the kernel never computes."""
    step = 1.3
    x, y, rate, accepted = moved(mala(logdensity, step, batched=True))
    proposal = lambda there, here: norm.logpdf(there, here + step**2 / 2 * slope(here), step).sum(-1)
    ratio = log(y) + proposal(x, y) - log(x) - proposal(y, x)
    assert np.allclose(rate[accepted], np.exp(np.minimum(0, ratio))[accepted], rtol=1e-9)
    assert not np.allclose(rate[accepted], np.exp(np.minimum(0, log(y) - log(x)))[accepted], rtol=1e-2)
    assert 0.2 < accepted.mean() < 0.95
    assert as_often_as_told(rate, accepted)


@pytest.mark.parametrize("steps", [1, 4])
def test_hmc_follows_the_leapfrog(steps):
    """In NumPy, with the momenta of the same seed; the matrix is not the unit matrix."""
    step, variance = 0.6, np.array([0.5, 2.0])
    x, y, rate, accepted = moved(hmc(logdensity, step, steps, torch.as_tensor(variance), batched=True))
    p = start = torch.randn(CHAINS, 2, generator=rng(1), dtype=DTYPE).numpy() / np.sqrt(variance)
    q = x
    for _ in range(steps):
        p = p + step / 2 * slope(q)
        q = q + step * variance * p
        p = p + step / 2 * slope(q)
    gain = log(x) - log(q) + ((p**2 - start**2) * variance).sum(-1) / 2
    assert np.allclose(rate, np.exp(-np.maximum(gain, 0)), rtol=1e-9)
    assert np.allclose(y[accepted], q[accepted], rtol=1e-10)
    assert as_often_as_told(rate, accepted)
    assert not np.allclose(rate, np.exp(-np.maximum(log(x) - log(q), 0)), rtol=1e-2)
