"""Pyro's models as log densities: equal to Pyro's own potential, contained, named; what can't be one is refused."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.mcmc.util import initialize_model
from pyro.infer.reparam import LocScaleReparam
from pyro.nn import PyroModule, PyroSample
from pyro.util import get_rng_state
from torch.func import grad, vmap

from torchflux_mcmc import hmc, nuts, run, summary, window_adaptation
from torchflux_mcmc.pyro import pyro_logdensity

DTYPE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(DTYPE)
    yield
    torch.set_default_dtype(torch.float32)


def schools():
    """Rubin (1981), not centred."""
    effects = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    errors = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", 8):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        theta = pyro.deterministic("theta", mu + tau * z)
        pyro.sample("y", dist.Normal(theta, errors), obs=effects)


def supports():
    """A site of every support, one of them a matrix."""
    root = pyro.sample("root", dist.LKJCholesky(3, 2.0))
    scales = pyro.sample("scales", dist.Gamma(2.0, 1.0).expand([3]).to_event(1))
    pyro.sample("x", dist.MultivariateNormal(torch.zeros(3), scale_tril=scales[:, None] * root), obs=torch.ones(3))
    share = pyro.sample("share", dist.Beta(2.0, 3.0))
    place = pyro.sample("place", dist.Uniform(-1.0, 2.0))
    shares = pyro.sample("shares", dist.Dirichlet(torch.tensor([1.0, 2.0, 3.0])))
    pyro.factor("more", share * place - shares.square().sum())


def mixture(x):
    shares = pyro.sample("shares", dist.Dirichlet(torch.ones(2)))
    means = pyro.sample("means", dist.Normal(torch.tensor([-2.0, 2.0]), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        which = pyro.sample("which", dist.Categorical(shares))
        pyro.sample("x", dist.Normal(means[which], 1.0), obs=x)


def hidden(y):
    stay = pyro.sample("stay", dist.Beta(torch.tensor([4.0, 1.0]), 2.0).to_event(1))
    state = torch.tensor(0)
    for i in pyro.markov(range(len(y))):
        state = pyro.sample(f"state_{i}", dist.Bernoulli(stay[state.long()]))
        pyro.sample(f"y_{i}", dist.Normal(2 * state, 1.0), obs=y[i])


DATA = torch.tensor([-1.7, 2.2, 0.3, -2.4, 1.9], dtype=DTYPE)
MODELS = [(schools, ()), (supports, ()), (mixture, (DATA,)), (hidden, (DATA,))]


@pytest.mark.parametrize(("model", "args"), MODELS, ids=lambda x: getattr(x, "__name__", ""))
def test_it_is_pyros_own_potential(model, args):
    """Values and gradients at four positions; chains at once and each by itself."""
    logdensity = pyro_logdensity(model, *args)
    start = logdensity.initial(rng(), num_chains=4)
    _, potential, transforms, _ = initialize_model(model, args)
    assert transforms.keys() == start.keys() == logdensity.bijections.keys()
    found = []
    for i in range(4):
        one = {name: x[i].requires_grad_() for name, x in start.items()}
        due = -potential(one)
        found.append(logdensity(one))
        assert torch.allclose(found[-1], due, rtol=1e-13)
        slopes = [torch.autograd.grad(f, list(one.values())) for f in (found[-1], due)]
        assert all(torch.allclose(a, b, rtol=1e-11, atol=1e-13) for a, b in zip(*slopes, strict=True))
        assert not torch.allclose(found[-1], -potential({name: x + 1e-6 for name, x in one.items()}), rtol=1e-13)
        for name, x in logdensity.constrain(one).items():
            if name in transforms:
                assert torch.equal(x, transforms[name].inv(one[name]))
    assert logdensity.vectorized == (model in (schools, supports))
    if logdensity.vectorized:
        detached = {name: x.detach() for name, x in start.items()}
        assert torch.allclose(vmap(logdensity)(detached), torch.stack(found), rtol=1e-13)
        assert all(x.isfinite().all() for x in vmap(grad(logdensity))(detached).values())


def test_global_randomness_is_contained():
    """Neither construction nor positions depend on the global generators, or change them."""
    starts = []
    for seed in (1, 2):
        pyro.set_rng_seed(seed)
        before = get_rng_state()
        starts.append(pyro_logdensity(schools).initial(rng(5), num_chains=2))
        after = get_rng_state()
        assert torch.equal(after["torch"], before["torch"])
        assert after["random"] == before["random"]
        assert np.array_equal(after["numpy"][1], before["numpy"][1])
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    logdensity = pyro_logdensity(schools)
    assert not torch.equal(logdensity.initial(rng(6), num_chains=2)["z"], starts[0]["z"])
    assert logdensity.initial(rng())["z"].shape == (8,)
    assert logdensity.initial(rng(), num_chains=1)["z"].shape == (1, 8)


def test_draws_come_back_constrained_and_named():
    logdensity = pyro_logdensity(schools)
    start = logdensity.initial(rng(), num_chains=3)
    samples = logdensity.constrain(run(rng(1), hmc(logdensity, 0.1, 3), start, 5))
    p = samples.positions
    assert {name: tuple(x.shape) for name, x in p.items()} == {
        "mu": (3, 5), "tau": (3, 5), "z": (3, 5, 8), "theta": (3, 5, 8)
    }  # fmt: skip
    assert torch.allclose(p["theta"], p["mu"][..., None] + p["tau"][..., None] * p["z"])
    assert summary(samples)["theta[7]"]["sd"] > 0
    back = logdensity.unconstrain({name: p[name] for name in ("mu", "tau", "z")})
    assert torch.allclose(logdensity.constrain(back)["theta"], p["theta"])


def test_discrete_sites_are_summed_out():
    """The mixture, against its density written by hand, and sampled."""
    logdensity = pyro_logdensity(mixture, DATA)
    position = {"shares": torch.tensor([0.3]), "means": torch.tensor([-1.0, 1.5])}
    shares, means = logdensity.constrain(position)["shares"], position["means"]
    each = torch.distributions.Normal(means, 1.0).log_prob(DATA[:, None]) + shares.log()
    prior = torch.distributions.Normal(torch.tensor([-2.0, 2.0]), 1.0).log_prob(means).sum()
    jacobian = shares.log().sum()  # of the logistic function, for two shares
    assert torch.allclose(logdensity(position), each.logsumexp(1).sum() + prior + jacobian)
    samples = logdensity.constrain(run(rng(), nuts(logdensity, 0.5), logdensity.initial(rng(), 2), 20))
    assert set(samples.positions) == {"shares", "means"}
    assert torch.allclose(samples.positions["shares"].sum(-1), torch.ones(2, 20))


def test_a_conjugate_model():
    """A coin's bias, after seven heads in ten: Beta(2 + 7, 3 + 3)."""

    def coin(tosses):
        bias = pyro.sample("bias", dist.Beta(2.0, 3.0))
        with pyro.plate("tosses", len(tosses)):
            pyro.sample("toss", dist.Bernoulli(bias), obs=tosses)

    logdensity = pyro_logdensity(coin, torch.tensor([1.0] * 7 + [0.0] * 3))
    warm = window_adaptation(nuts, logdensity).run(rng(), logdensity.initial(rng(), 30), 30, chains=True)
    bias = logdensity.constrain(run(rng(1), nuts(logdensity, **warm[1]), warm[0], 100)).positions["bias"]
    assert abs(float(bias.mean()) - 9 / 15) < 0.012
    assert abs(float(bias.var()) - 9 * 6 / (15**2 * 16)) < 0.0015


def test_the_target_moves():
    """Values of `pyro.param` are as they are now; a batch takes the place of the arguments."""
    pyro.clear_param_store()

    def model(x):
        centre = pyro.param("centre", torch.zeros(()))
        z = pyro.sample("z", dist.Normal(centre, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = torch.tensor([1.0, 2.0])
    logdensity = pyro_logdensity(model, x)
    position = {"z": torch.tensor(0.5)}
    normal = lambda x, mean: torch.distributions.Normal(mean, 1.0).log_prob(x).sum()
    assert torch.allclose(logdensity(position), normal(position["z"], 0.0) + normal(x, 0.5))
    pyro.get_param_store()["centre"] = torch.tensor(3.0)
    assert torch.allclose(logdensity(position), normal(position["z"], 3.0) + normal(x, 0.5))
    alg = nuts(logdensity, 0.5)
    state, _ = alg.step(rng(), alg.init(position), x + 1)
    assert torch.allclose(state.logdensity, normal(state.position["z"], 3.0) + normal(x + 1, state.position["z"]))
    pyro.clear_param_store()


class Network(PyroModule):
    """Its hidden layer has priors, its last one is trained."""

    def __init__(self):
        super().__init__()
        self.hidden = PyroModule[torch.nn.Linear](2, 3)
        self.hidden.weight = PyroSample(dist.Normal(0.0, 1.0).expand([3, 2]).to_event(2))
        self.hidden.bias = PyroSample(dist.Normal(0.0, 1.0).expand([3]).to_event(1))
        self.last = torch.nn.Linear(3, 1)

    def forward(self, x, y):
        mean = self.last(torch.tanh(self.hidden(x)))[:, 0]
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(mean, 0.5), obs=y)


def test_a_network_with_priors_interleaved_with_training():
    """Its layers are sites; the gradient reaches what isn't sampled, and a step sees the weights as they are."""
    pyro.set_rng_seed(0)
    network, x = Network(), torch.randn(10, 2, generator=rng())
    logdensity = pyro_logdensity(network, x, x[:, 0])
    assert logdensity.vectorized
    assert logdensity.shapes == {"hidden.weight": (3, 2), "hidden.bias": (3,)}
    alg = hmc(logdensity, 0.05, 3)
    state = alg.init(logdensity.initial(rng(), num_chains=4), chains=True)
    before, generator = state.logdensity, rng(1)
    optimiser = torch.optim.SGD(network.last.parameters(), lr=1e-2)
    for _ in range(20):
        state, _ = alg.step(generator, state)
        optimiser.zero_grad()
        (-vmap(logdensity)(state.position)).mean().backward()
        assert network.last.weight.grad.abs().sum() > 0
        optimiser.step()
    assert state.logdensity.mean() > before.mean() + 1
    assert torch.allclose(alg.init(state.position, chains=True).logdensity, vmap(logdensity)(state.position))


def test_reparameterised_sites_come_back():
    """Pyro takes the prior's scale out of the site; it is still there among the constrained values."""

    def model():
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        pyro.sample("theta", dist.Normal(2.0, scale))

    logdensity = pyro_logdensity(poutine.reparam(model, {"theta": LocScaleReparam(0.0)}))
    assert set(logdensity.shapes) == {"scale", "theta_decentered"}
    found = logdensity.constrain({"scale": torch.zeros(3), "theta_decentered": torch.arange(3.0)})
    assert torch.allclose(found["theta"], 2.0 + found["scale"] * torch.arange(3.0))


def test_branches_make_chains_go_one_after_the_other():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.factor("half", 2 * x if x > 0 else x)

    logdensity = pyro_logdensity(model)
    assert not logdensity.vectorized
    start = {"x": torch.tensor([-1.0, 1.0])}
    state = nuts(logdensity, 0.5).init(start, chains=True)
    assert torch.allclose(state.logdensity, torch.tensor([-1.0, 2.0]) - 0.5 - 0.5 * np.log(2 * np.pi))
    assert run(rng(), nuts(logdensity, 0.5), start, 3).positions["x"].shape == (2, 3)


def poisson():
    rate = pyro.sample("rate", dist.Gamma(1.0, 1.0))
    pyro.sample("count", dist.Poisson(rate))


def subsampled():
    with pyro.plate("data", 10, subsample_size=5):
        pyro.sample("x", dist.Normal(0.0, 1.0))


def observed():
    pyro.sample("x", dist.Normal(0.0, 1.0), obs=torch.zeros(()))


def moving_support():
    top = pyro.sample("top", dist.Gamma(1.0, 1.0))
    pyro.sample("x", dist.Uniform(0.0, top))


def noisy():
    pyro.sample("x", dist.Normal(torch.randn(()), 1.0))


def sequential():
    pyro.sample("k", dist.Bernoulli(0.5), infer={"enumerate": "sequential"})
    pyro.sample("x", dist.Normal(0.0, 1.0))


def impossible_data():
    pyro.sample("p", dist.Beta(1.0, 1.0))
    pyro.sample("x", dist.Bernoulli(0.5), obs=torch.tensor(3.0))


def growing():
    if pyro.sample("x", dist.Normal(0.0, 1.0)) > 0.3:
        pyro.sample("y", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (poisson, "the site 'count' is a Poisson, which is discrete"),
        (subsampled, "the plate 'data' takes 5 of 10 at random"),
        (observed, "no latent sites"),
        (moving_support, "the support of the site 'x' depends on other sites"),
        (noisy, "random numbers that belong to no site"),
        (impossible_data, "within the support"),
        (sequential, "the site 'k' is enumerated sequentially"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_what_is_no_density_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        pyro_logdensity(model)


def test_sites_that_come_and_go_are_refused():
    with pytest.raises(ValueError, match="sites"):
        nuts(pyro_logdensity(growing), 1.0).init({"x": torch.tensor([-2.0, 2.0])}, chains=True)


def test_bad_positions():
    logdensity = pyro_logdensity(schools)
    with pytest.raises(ValueError, match=r"the model's latent sites are \['mu', 'tau', 'z'\]"):
        logdensity.constrain({"mu": torch.zeros(())})
    with pytest.raises(ValueError, match=r"\['mu'\] was given"):
        logdensity({"mu": torch.zeros(())})
    with pytest.raises(TypeError, match="generator is 3"):
        logdensity.initial(3)
    with pytest.raises(ValueError, match="with the same axes in front"):
        logdensity.constrain({"mu": torch.zeros(2), "tau": torch.zeros(2), "z": torch.zeros(3, 8)})
    with pytest.raises(ValueError, match="no position was found in 100 tries"):
        pyro_logdensity(impossible)


def impossible():
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.factor("never", x - float("inf"))


def test_a_poutine_around_it_sees_nothing():
    with poutine.trace() as tracer:
        pyro_logdensity(schools)({"mu": torch.zeros(()), "tau": torch.zeros(()), "z": torch.zeros(8)})
    assert not [name for name in tracer.trace.nodes if not name.startswith("_")]


def test_a_deterministic_site_of_a_discrete_one_is_left_out():
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        k = pyro.sample("k", dist.Bernoulli(0.3))
        pyro.deterministic("both", x + k)
        pyro.deterministic("twice", 2 * x)

    with pytest.warns(UserWarning, match="'both' depends on a discrete site"):
        logdensity = pyro_logdensity(model)
    found = logdensity.constrain({"x": torch.ones(3)})
    assert set(found) == {"x", "twice"}
