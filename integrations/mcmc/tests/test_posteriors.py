"""Long runs find the moments that are known: in closed form, by quadrature, and from a published posterior.

The chains are independent, so that the averages of each are a sample, and their mean gets a t-test: the Monte-Carlo
error is honest however slowly a chain mixes.
"""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import beta, ttest_1samp

from torchflux_mcmc import elliptical_slice, gibbs, hmc, mala, nuts, run, rwm

DTYPE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def tensor(x):
    return torch.tensor(x, dtype=DTYPE)


def evidence(draws, functions, due):
    """The smallest p-value of the functions' averages, times the number of tests; of draws (chains, draws, ...)."""
    averages = [np.asarray(f(draws).mean(1)) for f in functions]
    return len(due) * min(ttest_1samp(x, mean).pvalue for x, mean in zip(averages, due, strict=True))


MEAN, COVARIANCE = tensor([1.0, -2.0]), tensor([[1.0, 0.6], [0.6, 2.0]])
PRECISION = torch.linalg.inv(COVARIANCE)
SECOND = [lambda x: x[..., 0], lambda x: x[..., 1], lambda x: x[..., 0] ** 2, lambda x: x[..., 0] * x[..., 1]]
SECOND_DUE = [1.0, -2.0, 1.0 + 1.0, 0.6 - 2.0]


def normal(x):
    z = x - MEAN
    return -((z @ PRECISION) * z).sum(-1) / 2


def parts(p):
    return normal(torch.stack((p["a"], p["b"]), -1))


KERNELS = {
    "rwm": rwm(normal, 1.2, COVARIANCE, batched=True),
    "mala": mala(normal, 0.9, batched=True),
    "hmc": hmc(normal, 0.5, 4, batched=True),
    "nuts": nuts(normal, 0.6, batched=True),
    "elliptical_slice": elliptical_slice(lambda x: normal(x) + (x**2).sum(-1) / 8, 0.0, 4 * torch.ones(2), True),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_normal_density(name):
    x = run(rng(len(name)), KERNELS[name], tensor([[3.0, 3.0]]).repeat(100, 1), 160).positions[:, 60:]
    assert evidence(x, SECOND, SECOND_DUE) > 1e-3


def test_a_normal_density_in_blocks():
    alg = gibbs(parts, {"a": mala(parts, 1.0), "b": rwm(parts, 2.0)}, batched=True)
    p = run(rng(), alg, {"a": torch.ones(100, dtype=DTYPE), "b": torch.ones(100, dtype=DTYPE)}, 160).positions
    x = torch.stack((p["a"], p["b"]), -1)[:, 60:]
    assert evidence(x, SECOND, SECOND_DUE) > 1e-3


def test_the_canary():
    """Moves that are too long by a twentieth are found out, and so is a mean that is a tenth off."""

    class Wrong(hmc):
        def move(self, generator, target, rows, tuning):
            end, info = super().move(generator, target, rows, tuning)
            return end._replace(q=end.q * 1.05), info

    start = tensor([[3.0, 3.0]]).repeat(100, 1)
    x = run(rng(), Wrong(normal, 0.5, 4, batched=True), start, 160).positions[:, 60:]
    assert evidence(x, SECOND, SECOND_DUE) < 1e-6
    x = run(rng(), KERNELS["hmc"], start, 160).positions[:, 60:]
    assert evidence(x, SECOND, [1.1, -2.0, 2.0, -1.4]) < 1e-6


def test_a_coins_bias():
    """Beta(2, 3), and seven heads in ten: Beta(9, 6), sampled as its logit."""
    logdensity = lambda u: 9 * torch.nn.functional.logsigmoid(u) + 6 * torch.nn.functional.logsigmoid(-u)
    u = run(rng(), nuts(logdensity, 1.0, batched=True), torch.zeros(100, dtype=DTYPE), 120).positions[:, 20:]
    functions = [torch.sigmoid, lambda u: torch.sigmoid(u) ** 2, lambda u: (u > math.log(1.5)).double()]
    due = [beta(9, 6).mean(), beta(9, 6).moment(2), beta(9, 6).sf(expit(math.log(1.5)))]
    assert evidence(u, functions, due) > 1e-3
    assert evidence(u, functions, [beta(9, 7).mean(), *due[1:]]) < 1e-6


def test_a_mean_and_a_variance():
    """Normal data with the conjugate prior: the mean is normal given the variance, whose inverse is a gamma's."""
    y = tensor([1.2, 0.4, 2.2, 1.9, 0.7, 1.1])
    n, shape, rate = len(y), 2.0 + 3.0, 1.0 + float(((y - y.mean()) ** 2).sum()) / 2
    # prior: 1/v is Gamma(2, 1), and m is normal around 0 with the variance 4 v
    precision = n + 0.25
    centre = float(y.sum()) / precision
    rate += n * 0.25 / precision * float(y.mean()) ** 2 / 2

    def logdensity(p):
        m, log_v = p["m"], p["log_v"]
        likelihood = -((y - m[..., None]) ** 2).sum(-1) / 2 - (m**2) / 8
        return (likelihood - 1.0) * (-log_v).exp() - (n / 2 + 0.5 + 2.0) * log_v

    start = {"m": torch.zeros(100, dtype=DTYPE), "log_v": torch.zeros(100, dtype=DTYPE)}
    p = run(rng(), nuts(logdensity, 0.4, batched=True), start, 120).positions
    draws = torch.stack((p["m"], p["log_v"]), -1)[:, 20:]
    functions = [lambda x: x[..., 0], lambda x: x[..., 0] ** 2, lambda x: x[..., 1].exp(), lambda x: (-x[..., 1]).exp()]
    variance = rate / (shape - 1)
    due = [centre, centre**2 + variance / precision, variance, shape / rate]
    assert evidence(draws, functions, due) > 1e-3
    assert evidence(draws, functions, [*due[:2], 1.1 * variance, due[3]]) < 1e-6


def test_neals_funnel():
    """Not centred: `v` is normal with the deviation 3, and `x` around 0 with the deviation exp(v / 2) (Neal, 2003)."""
    logdensity = lambda z: -(z**2).sum(-1) / 2
    z = run(rng(), nuts(logdensity, 0.8, batched=True), torch.zeros(100, 3, dtype=DTYPE), 120).positions[:, 20:]
    draws = torch.stack((3 * z[..., 0], (1.5 * z[..., 0]).exp() * z[..., 1]), -1)
    functions = [
        lambda x: x[..., 0],
        lambda x: x[..., 0] ** 2,
        lambda x: (x[..., 0] < -3 * 1.2815515655446004).double(),
        lambda x: (x[..., 1] > 0).double(),
        lambda x: (x[..., 1].abs() < (x[..., 0] / 2).exp() * 0.6744897501960817).double(),
    ]
    assert evidence(draws, functions, [0.0, 9.0, 0.1, 0.5, 0.5]) > 1e-3
    assert evidence(draws, functions, [0.0, 9.0, 0.13, 0.5, 0.5]) < 1e-6


EFFECTS = tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
PUBLISHED = [
    6.15050229334425, 4.9395811407422, 3.90590609001582, 4.79601675138494, 3.6144363246799, 4.0511475789675,
    6.31716975886893, 4.88399694353288, 4.41051833695493, 3.60205952364059,
]  # fmt: skip
PUBLISHED_ERRORS = [
    0.0557375282295219, 0.0462293788624847, 0.0542313705632124, 0.0474935816762281, 0.0461450610244603,
    0.0485195392528031, 0.0498766794075794, 0.0542511606560972, 0.0330374705950917, 0.0318615135640706,
]  # fmt: skip
"""The means of theta[1..8], mu and tau, and their Monte-Carlo errors: posteriordb (Magnusson, Bürkner & Vehtari),
`reference_posteriors/summary_statistics/mean/mean/eight_schools-eight_schools_noncentered.json`, commit e354533."""


def schools(p):
    """Not centred; mu is normal (0, 5), tau half-Cauchy (5): posteriordb's `eight_schools_noncentered`."""
    tau = p["log_tau"].exp()
    theta = p["mu"][..., None] + tau[..., None] * p["z"]
    likelihood = -(((EFFECTS - theta) / ERRORS) ** 2).sum(-1) / 2 - (p["z"] ** 2).sum(-1) / 2
    return likelihood - p["mu"] ** 2 / 50 - torch.log1p(tau**2 / 25) + p["log_tau"]


def means_given(tau):
    """The density of tau up to a constant, and the means of theta and mu given it (Gelman et al., BDA, 5.4)."""
    y, s = EFFECTS.numpy(), ERRORS.numpy()
    weights = 1 / (s**2 + tau**2)
    precision = weights.sum() + 1 / 25
    mu = (weights * y).sum() / precision
    log = (np.log(weights).sum() - np.log(precision) - (weights * y**2).sum() + precision * mu**2) / 2
    theta = (y * tau**2 + mu * s**2) / (s**2 + tau**2)
    return np.exp(log + 20) / (1 + tau**2 / 25), [*theta, mu, tau]


def exact_means():
    integral = lambda f: quad(f, 0, 20, epsrel=1e-10)[0] + quad(f, 20, np.inf, epsrel=1e-10)[0]
    whole = integral(lambda tau: means_given(tau)[0])
    return [integral(lambda tau, i=i: means_given(tau)[0] * means_given(tau)[1][i]) / whole for i in range(10)]


def test_eight_schools():
    exact = np.array(exact_means())
    assert (np.abs(exact - PUBLISHED) < 4 * np.array(PUBLISHED_ERRORS)).all()
    zero = torch.zeros(200, dtype=DTYPE)
    start = {"mu": zero, "log_tau": zero, "z": torch.zeros(200, 8, dtype=DTYPE)}
    p = run(rng(), nuts(schools, 0.4, tensor([10.0, 1.0] + [1.0] * 8), batched=True), start, 150).positions
    tau = p["log_tau"].exp()
    theta = p["mu"][..., None] + tau[..., None] * p["z"]
    draws = torch.cat((theta, p["mu"][..., None], tau[..., None]), -1)[:, 50:]
    functions = [lambda x, i=i: x[..., i] for i in range(10)]
    assert evidence(draws, functions, exact) > 1e-3
    errors = np.asarray(draws.mean(1).std(0)) / 200**0.5
    assert (np.abs(np.asarray(draws.mean((0, 1))) - PUBLISHED) < 4 * np.hypot(PUBLISHED_ERRORS, errors)).all()
    assert evidence(draws, functions, [*exact[:9], exact[9] + 0.4]) < 1e-6
