"""Every kernel leaves its target as it is: exact draws, moved once, are exact draws again.

Thousands of chains start at independent draws of the target; after some transitions they have to pass a
Kolmogorov-Smirnov test in every direction that is looked at. What is wrong shows however slowly a
kernel mixes.
"""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from torchflux_mcmc import Dense, elliptical_slice, gibbs, hmc, mala, nuts, repeat, run, rwm

CHAINS = 3000
DTYPE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def logdensity(x):
    """A banana (Haario, Saksman & Tamminen, 1999): a normal number, and one around the square of it."""
    return -(x[..., 0] ** 2) / 2 - (x[..., 1] - x[..., 0] ** 2) ** 2


def exact(chains, generator):
    z = torch.randn(chains, 2, generator=generator, dtype=DTYPE)
    return torch.stack((z[:, 0], z[:, 0] ** 2 + z[:, 1] / math.sqrt(2)), 1)


def straightened(x):
    """The two independent standard normal numbers that the draws are made of, and two mixtures of them."""
    z = torch.stack((x[:, 0], (x[:, 1] - x[:, 0] ** 2) * math.sqrt(2)), 1)
    return [*z.T, (z[:, 0] + z[:, 1]) / math.sqrt(2), (z[:, 0] - z[:, 1]) / math.sqrt(2)]


def evidence(x):
    """The smallest p-value of all tests."""
    return min(kstest(np.asarray(z), norm.cdf).pvalue for z in straightened(x))


KERNELS = {
    "rwm": rwm(logdensity, step_size=0.7, batched=True),
    "mala": mala(logdensity, step_size=0.6, batched=True),
    "hmc": hmc(logdensity, step_size=0.35, num_integration_steps=7, batched=True),
    "hmc, dense": hmc(logdensity, 0.3, 6, Dense(torch.tensor([[1.0, 0.4], [0.4, 2.0]], dtype=DTYPE)), batched=True),
    "nuts": nuts(logdensity, step_size=0.3, batched=True),
    "nuts, large steps": nuts(logdensity, step_size=0.8, batched=True),
    "nuts, dense": nuts(logdensity, 0.3, torch.tensor([[1.0, 0.4], [0.4, 2.0]], dtype=DTYPE), batched=True),
    "nuts, small trees": nuts(logdensity, 0.2, max_num_doublings=2, batched=True),
    "repeat": repeat(mala(logdensity, step_size=0.6, batched=True), 3),
}


@pytest.mark.parametrize("name", KERNELS)
def test_exact_draws_stay_exact(name):
    generator = rng(len(name))
    x = exact(CHAINS, generator)
    samples = run(generator, KERNELS[name], x, 4)
    moved = samples.positions[:, -1]
    assert (moved != x).any(1).double().mean() > 0.5
    assert evidence(moved) > 1e-4


def test_the_canary():
    """A kernel that is a little wrong, because its gradient belongs to another density, is found out."""

    class Wrong(hmc):
        def move(self, generator, target, rows, tuning):
            end, info = super().move(generator, target, rows, tuning)
            return end._replace(q=end.q * 1.02), info

    alg = Wrong(logdensity, step_size=0.35, num_integration_steps=7, batched=True)
    x = exact(CHAINS, rng())
    assert evidence(x) > 1e-4
    assert evidence(run(rng(), alg, x, 20).positions[:, -1]) < 1e-6


def funnel(x):
    """Neal's (2003), centred: v is normal (0, 3), and three numbers are normal (0, exp(v / 2)) given it."""
    v = x[..., 0]
    return -(v**2) / 18 - (x[..., 1:] ** 2).sum(-1) * (-v).exp() / 2 - 1.5 * v


def through_the_funnel(alg):
    """Exact draws, moved thrice; the smallest p-value of the normal numbers that they are made of."""
    z = torch.randn(CHAINS, 4, generator=rng(2), dtype=DTYPE)
    start = torch.cat((3 * z[:, :1], (1.5 * z[:, :1]).exp() * z[:, 1:]), 1)
    x = run(rng(3), alg, start, 3).positions[:, -1]
    assert (x != start).any(1).double().mean() > 0.5
    z = [x[:, 0] / 3, *(x[:, 1:] * (-x[:, :1] / 2).exp()).T]
    return min(kstest(np.asarray(part), norm.cdf).pvalue for part in (*z, sum(z) / 2))


def test_the_funnel():
    """No chain gets through it in reasonable time; but exact draws, its neck's too, stay exact."""
    assert through_the_funnel(hmc(funnel, 0.3, 10, batched=True)) > 1e-4
    assert through_the_funnel(nuts(funnel, 0.3, max_num_doublings=5, batched=True)) > 1e-4
    without_its_factor = lambda x: funnel(x) + 1.5 * x[..., 0]
    assert through_the_funnel(hmc(without_its_factor, 0.3, 10, batched=True)) < 1e-6


def test_elliptical_slices():
    """A normal likelihood with a normal prior of another mean and covariance."""
    covariance = torch.tensor([[1.0, 0.6], [0.6, 2.0]], dtype=DTYPE)
    mean = torch.tensor([0.5, -1.0], dtype=DTYPE)
    precision = torch.linalg.inv(covariance) + 4 * torch.eye(2, dtype=DTYPE)
    posterior = torch.linalg.inv(precision)
    centre = posterior @ (torch.linalg.inv(covariance) @ mean + 4 * torch.ones(2, dtype=DTYPE))
    alg = elliptical_slice(lambda x: -2 * ((x - 1) ** 2).sum(-1), mean, covariance, batched=True)
    root = torch.linalg.cholesky(posterior)
    x = centre + torch.randn(CHAINS, 2, generator=rng(), dtype=DTYPE) @ root.T
    moved = run(rng(1), alg, x, 3).positions[:, -1]
    z = torch.linalg.solve_triangular(root, (moved - centre).T, upper=False)
    assert min(kstest(np.asarray(part), norm.cdf).pvalue for part in (*z, (z[0] + z[1]) / math.sqrt(2))) > 1e-4
    assert (moved != x).all()


def whole(p):
    """A chain of normal numbers: m, then x given m, then two y given x."""
    return -(p["m"] ** 2) / 2 - (p["x"] - p["m"]) ** 2 / 2 - ((p["y"] - p["x"][..., None]) ** 2).sum(-1) / 2


def conditional(generator, p):
    """y given the rest."""
    return p["x"] + torch.randn(2, generator=generator, dtype=DTYPE)


def both(generator, p):
    """x given the rest without y, then y given x: one draw of both."""
    x = p["m"] + torch.randn((), generator=generator, dtype=DTYPE)
    return x, x + torch.randn(2, generator=generator, dtype=DTYPE)


@pytest.mark.parametrize(
    "blocks",
    [
        {"m": rwm(whole), "x": nuts(whole, 0.7), "y": conditional},
        {("m", "x"): hmc(whole, 0.5), "y": mala(whole, 0.8)},
        {"y": conditional, ("x", "m"): rwm(whole, 0.8)},
        {("x", "y"): both, "m": hmc(whole, 0.8)},
        {("y", "x"): lambda *args: both(*args)[::-1], "m": hmc(whole, 0.8)},
    ],
    ids=["three", "two", "exact", "a pair", "a pair the other way round"],
)
def test_gibbs_against_the_joint(blocks):
    chains = 600
    z = torch.randn(chains, 4, generator=rng(), dtype=DTYPE)
    m, x = z[:, 0], z[:, 0] + z[:, 1]
    start = {"m": m, "x": x, "y": x[:, None] + z[:, 2:]}
    p = run(rng(1), gibbs(whole, blocks, batched=True), start, 3).positions
    p = {name: part[:, -1] for name, part in p.items()}
    scores = [p["m"], p["x"] - p["m"], *(p["y"] - p["x"][:, None]).T]
    scores += [sum(scores) / 2, (scores[0] - scores[1] + scores[2] - scores[3]) / 2]
    assert min(kstest(np.asarray(score), norm.cdf).pvalue for score in scores) > 1e-4
    assert all((p[name] != start[name]).double().mean() > 0.3 for name in p)
