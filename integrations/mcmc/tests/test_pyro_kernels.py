"""Pyro's own kernels, a step at a time: what they draw is what they draw in Pyro's hands."""

import copy

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.mcmc import HMC, NUTS, RandomWalkKernel
from scipy.stats import kstest, norm

from torchflux_mcmc import Dense, Diagonal, gibbs, run, rwm, window_adaptation
from torchflux_mcmc._pyro_density import contained
from torchflux_mcmc.pyro import pyro_kernel, stepped

DTYPE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def model(y):
    mean = pyro.sample("a_mean", dist.Normal(torch.zeros((), dtype=DTYPE), 2.0))
    scale = pyro.sample("b_scale", dist.HalfNormal(torch.ones((), dtype=DTYPE)))
    with pyro.plate("data", len(y)):
        pyro.sample("y", dist.Normal(mean, scale), obs=y)


Y = torch.tensor([0.3, -1.2, 0.7, 0.1], dtype=DTYPE)
FIXED = {"adapt_step_size": False, "adapt_mass_matrix": False}
KERNELS = {
    "hmc": lambda m: HMC(m, step_size=0.0625, num_steps=4, **FIXED),
    "nuts": lambda m: NUTS(m, step_size=0.02, **FIXED),
    "nuts, sliced": lambda m: NUTS(m, step_size=0.02, use_multinomial_sampling=False, max_tree_depth=3, **FIXED),
}


@pytest.mark.parametrize("name", KERNELS)
def test_it_is_pyros_own_transition(name):
    """From the same seed, Pyro's `setup` and `sample` draw the same numbers; the kernel is left as it was."""
    kernel = KERNELS[name](model)
    before = copy.copy(vars(kernel))
    alg = stepped(kernel, Y)
    start = alg.logdensity.initial(rng())
    for seed in range(5):
        state, info = alg.step(rng(seed), alg.init(start))
        due = KERNELS[name](model)
        due.initial_params = start
        due.setup(0, Y)
        with contained(rng(seed)):
            moved = due.sample(start)
        assert all(torch.allclose(state.position[k], moved[k], rtol=1e-9) for k in start)
        assert abs(float(info.acceptance_rate) - due._mean_accept_prob) < 1e-9
        assert torch.allclose(state.logdensity, alg.logdensity(state.position))
    assert vars(kernel).keys() == before.keys()
    assert all(vars(kernel)[k] is before[k] for k in before)


def test_chains_and_seeds():
    """Chains go by themselves; the seed is the chain; the global generator isn't touched."""
    alg = stepped(NUTS(model, step_size=0.05, max_tree_depth=4), Y)
    start = alg.logdensity.initial(rng(), num_chains=3)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, second = (run(rng(1), alg, start, 4) for _ in range(2))
    assert torch.equal(first.positions["a_mean"], second.positions["a_mean"])
    assert first.positions["a_mean"].shape == (3, 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.info.num_integration_steps.min() >= 1
    assert np.isnan(first.info.energy).all()
    assert not torch.equal(run(rng(2), alg, start, 4).positions["a_mean"], first.positions["a_mean"])


COVARIANCE = torch.tensor([[1.0, 0.8], [0.8, 2.0]], dtype=DTYPE)


@pytest.mark.parametrize(
    ("kind", "options", "matrix"),
    [
        (HMC, {"trajectory_length": 1.8}, Dense(COVARIANCE)),
        (HMC, {"trajectory_length": 1.8}, Diagonal(torch.tensor([0.5, 2.0], dtype=DTYPE))),
        (NUTS, {"max_tree_depth": 2}, Dense(COVARIANCE)),
    ],
    ids=["hmc, dense", "hmc", "nuts, dense"],
)
def test_exact_draws_stay_exact(kind, options, matrix):
    """As in `test_invariance`: with other metrics than the unit matrix, and any log density."""
    precision, root = torch.linalg.inv(COVARIANCE), torch.linalg.cholesky(COVARIANCE)
    logdensity = lambda x: -(x @ precision @ x) / 2
    alg = pyro_kernel(logdensity, 0.6, matrix, kind(potential_fn=logdensity, **options))
    x = torch.randn(200, 2, generator=rng(), dtype=DTYPE) @ root.T
    moved = run(rng(1), alg, x, 1).positions[:, -1]
    z = torch.linalg.solve_triangular(root, moved.T, upper=False)
    assert min(kstest(np.asarray(part), norm.cdf).pvalue for part in (*z, (z[0] + z[1]) / 2**0.5)) > 1e-3
    assert (moved != x).any(1).double().mean() > 0.5


def test_warm_up_and_gibbs():
    kernel = NUTS(model, max_tree_depth=4)
    alg = stepped(kernel, Y)
    start = alg.logdensity.initial(rng(), num_chains=2)
    state, params = window_adaptation(pyro_kernel, alg.logdensity, kernel=kernel).run(rng(), start, 25, chains=True)
    assert (params["step_size"] > 0.05).all()
    blocks = {"a_mean": pyro_kernel(alg.logdensity, 0.5, kernel=kernel), "b_scale": rwm(alg.logdensity)}
    samples = run(rng(), gibbs(alg.logdensity, blocks), state, 3)
    assert (samples.positions["a_mean"].diff() != 0).any()


def test_divergences_are_told():
    alg = stepped(HMC(potential_fn=lambda x: 1e6 * (x**4).sum(), step_size=1.0, num_steps=2))
    state, info = alg.step(rng(), alg.init(torch.full((2,), 0.1)))
    assert info.is_divergent
    assert torch.equal(state.position, torch.full((2,), 0.1))


def test_other_kernels_are_refused():
    with pytest.raises(TypeError, match="Pyro's HMC or NUTS, not RandomWalkKernel"):
        stepped(RandomWalkKernel(model), Y)
    with pytest.raises(TypeError, match="kernel is None"):
        pyro_kernel(lambda x: x)
