"""Kernel, density and simulator agree: simulation-based calibration, and Geweke's test of the joint distribution.

The model: a mean and the logarithm of a scale with normal priors, and five normal observations. The data are a block of
the position: in calibration it stays as it is, in Geweke's test it is drawn again in each transition.
"""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ttest_1samp

from torchflux_mcmc import gibbs, hmc, mala, nuts, run, rwm

DTYPE = torch.float64
SPREAD = 0.5
"""The prior deviation of the scale's logarithm."""


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def logdensity(p):
    m, s, y = p["m"], p["s"], p["y"]
    likelihood = -((y - m[..., None]) ** 2).sum(-1) / 2 * (-2 * s).exp() - 5 * s
    return likelihood - m**2 / 2 - (s / SPREAD) ** 2 / 2


def forgetful(p):
    """A density that counts the normalising factor of three observations instead of five."""
    return logdensity(p) + 2 * p["s"]


def prior(chains, generator):
    z = torch.randn(chains, 7, generator=generator, dtype=DTYPE)
    m, s = z[:, 0], SPREAD * z[:, 1]
    return {"m": m, "s": s, "y": m[:, None] + s.exp()[:, None] * z[:, 2:]}


def kept(generator, p):
    return p["y"]


def simulated(generator, p):
    return p["m"] + p["s"].exp() * torch.randn(5, generator=generator, dtype=DTYPE)


KERNELS = {
    "rwm": lambda f: rwm(f, 0.6),
    "mala": lambda f: mala(f, 0.55),
    "hmc": lambda f: hmc(f, 0.3, 4),
    "nuts": lambda f: nuts(f, 0.35),
}
DRAWS, CHAINS = 9, 600


def calibration(kernel, target=logdensity):
    """The smallest of the two parameters' p-values: the ranks of what made the data among the draws are uniform."""
    truth = prior(CHAINS, rng(3))
    start = {"m": torch.zeros(CHAINS, dtype=DTYPE), "s": torch.zeros(CHAINS, dtype=DTYPE), "y": truth["y"]}
    alg = gibbs(target, {("m", "s"): kernel(target), "y": kept}, batched=True)
    state = run(rng(4), alg, start, 1, thin=12).state
    draws = run(rng(5), alg, state, DRAWS, thin=5).positions
    ranks = [(draws[name] < truth[name][:, None]).sum(1) for name in ("m", "s")]
    return min(chisquare(torch.bincount(rank, minlength=DRAWS + 1)).pvalue for rank in ranks)


@pytest.mark.parametrize("name", ["hmc", "nuts"])
def test_simulation_based_calibration(name):
    """Talts, Betancourt, Simpson, Vehtari & Gelman (2018), arXiv:1804.06788."""
    assert calibration(KERNELS[name]) > 1e-3


def test_calibration_finds_a_wrong_density():
    assert calibration(KERNELS["hmc"], forgetful) < 1e-6


MOMENTS = {
    "m": (lambda p: p["m"], 0.0),
    "m squared": (lambda p: p["m"] ** 2, 1.0),
    "s": (lambda p: p["s"], 0.0),
    "s squared": (lambda p: p["s"] ** 2, SPREAD**2),
    "y below": (lambda p: (p["y"][..., 0] < p["m"]).to(DTYPE), 0.5),
    "y and m": (lambda p: p["m"] * p["y"].mean(-1).clamp(-50, 50), 1.0),
    "near": (lambda p: ((p["y"][..., 1] - p["m"]).abs() < 0.6744897501960817 * p["s"].exp()).to(DTYPE), 0.5),
}


def geweke(kernel, target=logdensity, chains=150, draws=60):
    """The smallest p-value of the joint moments, of chains that start at draws of the joint, times their number."""
    alg = gibbs(target, {("m", "s"): kernel(target), "y": simulated}, batched=True)
    p = run(rng(1), alg, prior(chains, rng()), draws).positions
    return len(MOMENTS) * min(ttest_1samp(np.asarray(f(p).mean(1)), due).pvalue for f, due in MOMENTS.values())


@pytest.mark.parametrize("name", KERNELS)
def test_gewekes_joint_distribution(name):
    """Geweke (2004), doi:10.1198/016214504000001132: parameters and data in turns are draws of the joint."""
    assert geweke(KERNELS[name]) > 1e-3


def test_geweke_finds_a_wrong_density_and_a_wrong_kernel():
    class Wrong(hmc):
        def move(self, generator, target, rows, tuning):
            end, info = super().move(generator, target, rows, tuning)
            return end._replace(q=end.q + 0.05), info

    assert geweke(KERNELS["hmc"], forgetful) < 1e-6
    assert geweke(lambda f: Wrong(f, 0.3, 4)) < 1e-6
