"""Scripts written for Pyro's `MCMC`, with one line changed."""

import subprocess
import sys

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Predictive

from torchflux_mcmc import hmc, summary
from torchflux_mcmc._summary import named
from torchflux_mcmc.pyro import HMC, MCMC, NUTS, stepped

SCRIPT = """
import pyro
import pyro.distributions as dist
import torch
from {library} import MCMC, {kernel}

pyro.set_rng_seed(101)
x = torch.linspace(-1, 1, 30)
y = 0.5 + 2.0 * x + 0.5 * torch.randn(30)

def model(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Normal(torch.zeros(1), torch.ones(1)).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("obs", dist.Normal(a + b * x, 0.5), obs=y)

kernel = {kernel}(model, {options})
mcmc = MCMC(kernel, num_samples={draws}, warmup_steps={warm}, num_chains={chains}, disable_progbar=True)
mcmc.run(x, y)
mcmc.summary()
"""


def script(library, kernel="NUTS", options="target_accept_prob=0.8", draws=60, warm=100, chains=5):
    names: dict = {}
    text = SCRIPT.format(library=library, kernel=kernel, options=options, draws=draws, warm=warm, chains=chains)
    exec(text, names)
    return names


def posterior(names):
    """In closed form: a normal likelihood with normal priors."""
    features = torch.stack((torch.ones(30), names["x"]), 1).double()
    precision = features.T @ features / 0.25 + torch.eye(2)
    return torch.linalg.solve(precision, features.T @ names["y"].double() / 0.25), torch.linalg.inv(precision)


FIXED = "step_size=0.08, num_steps=8, adapt_step_size=False, adapt_mass_matrix=False"


@pytest.mark.parametrize(("kernel", "options"), [("NUTS", "full_mass=True"), ("HMC", FIXED)])
def test_a_script(kernel, options, capsys):
    names = script("torchflux_mcmc.pyro", kernel, options)
    mcmc, (mean, covariance) = names["mcmc"], posterior(names)
    draws = mcmc.get_samples()
    both = torch.stack((draws["a"], draws["b"][:, 0]), 1).double()
    assert both.shape == (300, 2)
    error = (covariance.diagonal() / mcmc.diagnostics()["a"]["n_eff"].clamp(max=300)).sqrt()
    assert ((both.mean(0) - mean).abs() < 4 * error).all()
    assert torch.allclose(torch.cov(both.T), covariance, atol=0.35 * float(covariance.diagonal().max()))
    printed = capsys.readouterr().out
    assert "r_hat" in printed
    assert "Number of divergences: 0" in printed


def test_it_answers_as_pyro_does(capsys):
    """The same names, shapes and structure; numbers are other ones."""
    ours = script("torchflux_mcmc.pyro", draws=8, warm=4, chains=1)["mcmc"]
    ours_printed = capsys.readouterr().out
    pyros = script("pyro.infer", draws=8, warm=4, chains=1)["mcmc"]
    assert capsys.readouterr().out.split()[:9] == ours_printed.split()[:9]
    for grouped in (True, False):
        shapes = [{k: v.shape for k, v in m.get_samples(group_by_chain=grouped).items()} for m in (ours, pyros)]
        assert shapes[0] == shapes[1]
    assert {k: v.shape for k, v in ours.get_samples(5).items()} == {k: v.shape for k, v in pyros.get_samples(5).items()}
    structure = lambda d: {k: sorted(v) for k, v in d.items()}
    assert structure(ours.diagnostics()) == structure(pyros.diagnostics())
    assert isinstance(ours.diagnostics()["divergences"]["chain 0"], list)


def test_the_seed_is_the_draws():
    first, second = (script("torchflux_mcmc.pyro", draws=5, warm=5)["mcmc"].get_samples() for _ in range(2))
    assert torch.equal(first["a"], second["a"])


def coin(tosses):
    bias = pyro.sample("bias", dist.Beta(2.0, 3.0))
    pyro.deterministic("odds", bias / (1 - bias))
    with pyro.plate("tosses", len(tosses)):
        pyro.sample("toss", dist.Bernoulli(bias), obs=tosses)


def test_what_else_can_be_done_with_the_draws():
    mcmc = MCMC(
        NUTS(coin), 10, 10, num_chains=3, disable_progbar=True, save_params=["bias"],
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    tosses = torch.tensor([1.0, 1.0, 0.0])
    mcmc.run(tosses)
    assert set(mcmc.get_samples()) == {"bias"}
    assert ((mcmc.get_samples()["bias"] > 0) & (mcmc.get_samples()["bias"] < 1)).all()
    assert Predictive(coin, mcmc.get_samples())(tosses)["odds"].shape == (30, 1)
    assert summary(mcmc.samples).names == ["bias", "odds"]
    assert named(mcmc.samples)["odds"].shape == (3, 10)


def test_a_potential_and_fixed_steps():
    """Without a model or warm-up; trajectories have as many steps as Pyro's, but for its rounding errors."""
    potential = lambda p: (p["x"] ** 2).sum() / 2
    start = {"x": torch.zeros(3, 2)}
    kernel = HMC(potential_fn=potential, step_size=0.3, num_steps=4, adapt_step_size=False, adapt_mass_matrix=False)
    exp = torch.distributions.ExpTransform().inv
    mcmc = MCMC(kernel, 20, 5, start, 3, transforms={"x": exp}, disable_progbar=True)
    mcmc.run()
    assert mcmc.get_samples()["x"].shape == (60, 2)
    assert (mcmc.get_samples()["x"] > 0).all()
    assert (mcmc.samples.info.num_integration_steps == 4).all()


def test_the_length_of_trajectories_is_kept_while_steps_change():
    mcmc = MCMC(HMC(coin, trajectory_length=1.0), 5, 20, num_chains=2, disable_progbar=True)
    pyro.set_rng_seed(0)
    mcmc.run(torch.tensor([1.0, 1.0, 0.0]))
    steps = mcmc.samples.info.num_integration_steps
    assert (steps == steps[:, :1]).all()
    assert steps.max() < 30


def test_each_chain_makes_its_own_number_of_steps():
    """Chains with other step sizes end where each alone does."""
    kind, options = HMC(coin, trajectory_length=1.0).algorithm()
    logdensity = lambda x: -(x**2).sum() / 2
    x = torch.tensor([[1.0], [0.5], [-2.0]])
    sizes = torch.tensor([0.1, 0.5, 3.0], dtype=torch.float64)
    alg = kind(logdensity, step_size=sizes, **options)
    state, info = alg.step(torch.Generator().manual_seed(0), alg.init(x, chains=True))
    assert info.num_integration_steps.tolist() == [10, 2, 1]
    for i, steps in enumerate((10, 2, 1)):
        alone = hmc(logdensity, step_size=sizes[[i] * 3], num_integration_steps=steps)
        due, how = alone.step(torch.Generator().manual_seed(0), alone.init(x, chains=True))
        assert torch.equal(state.position[i], due.position[i])
        assert info.acceptance_rate[i] == how.acceptance_rate[i]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NUTS(), "either a model or potential_fn"),
        (lambda: NUTS(coin, adapt_step_size=False), "go together"),
        (lambda: NUTS(coin, full_mass=[("bias",)]), "blocks aren't made here"),
        (lambda: MCMC(NUTS(coin), 10, hook_fn=print), "hook_fn isn't called"),
        (lambda: MCMC(NUTS(coin), 10, transforms={}), "transforms= is for potential_fn"),
        (lambda: MCMC(NUTS(potential_fn=abs), 10), "initial_params= with potential_fn"),
        (lambda: MCMC(NUTS(coin), 10).get_samples(), "call run first"),
        (lambda: MCMC(NUTS(coin), 10, 10, {"bias": torch.zeros(3)}, 2).run(torch.ones(2)), "2 chains'"),
        (lambda: MCMC(stepped, 10), "pass NUTS or HMC of torchflux_mcmc.pyro"),
    ],
)
def test_what_has_no_meaning_here_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_without_pyro_it_says_what_to_install():
    """In another process, where Pyro can't be found."""
    lines = (
        "import sys; sys.modules['pyro'] = None",
        "import torchflux_mcmc.pyro",
        "from torchflux_mcmc.pyro import MCMC",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert "ImportError: torchflux_mcmc.pyro needs Pyro: pip install torchflux-mcmc[pyro]" in done.stderr
    assert "line 3" in done.stderr
