"""`init` and `step`: shapes, seeds, reversibility, trees of positions, targets that change, and bad input."""

import math

import numpy as np
import pytest
import torch

from torchflux import Chain, Dense, destructure, fmap, tanh, trainables
from torchflux_mcmc import Dense as DenseMatrix
from torchflux_mcmc import (
    Diagonal,
    elliptical_slice,
    gibbs,
    hmc,
    mala,
    minibatch,
    nuts,
    repeat,
    run,
    rwm,
    sghmc,
    sgld,
    summary,
    window_adaptation,
)
from torchflux_mcmc._adaptation import windows
from torchflux_mcmc._hamiltonian import kinetic, leapfrog
from torchflux_mcmc._kernel import start
from torchflux_mcmc._positions import Positions
from torchflux_mcmc._target import Target

DTYPE = torch.float64


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(x):
    return -(x**2).sum() / 2


def tree(p):
    return normal(p["a"]) + normal(p["b"][0]) + normal(p["b"][1] - p["a"].sum())


POSITION = {"a": torch.zeros(3), "b": (torch.ones(2, 2), torch.zeros(()))}
KERNELS = [rwm, mala, hmc, nuts, elliptical_slice, lambda f: repeat(hmc(f), 2), sgld, sghmc]
NAMES = ["rwm", "mala", "hmc", "nuts", "elliptical_slice", "repeat", "sgld", "sghmc"]


@pytest.mark.parametrize("make", KERNELS, ids=NAMES)
def test_positions_are_trees(make):
    alg = make(tree)
    state = alg.init(POSITION)
    state, info = alg.step(rng(), state)
    assert state.position["a"].shape == (3,)
    assert state.position["b"][0].shape == (2, 2)
    assert state.position["b"][1].shape == ()
    assert state.logdensity.shape == info.acceptance_rate.shape == ()
    assert state.position["a"].dtype == torch.float32


@pytest.mark.parametrize("make", KERNELS, ids=NAMES)
def test_many_chains(make):
    alg = make(tree)
    chains = {"a": torch.zeros(5, 3), "b": (torch.ones(5, 2, 2), torch.zeros(5))}
    state = alg.init(chains, chains=True)
    state, info = alg.step(rng(), state)
    assert state.position["b"][0].shape == (5, 2, 2)
    assert state.logdensity.shape == info.is_divergent.shape == (5,)
    if alg.differentiates:
        assert torch.allclose(state.logdensity, torch.stack([tree(_nth(state.position, i)) for i in range(5)]))


def _nth(p, i):
    return {"a": p["a"][i], "b": (p["b"][0][i], p["b"][1][i])}


@pytest.mark.parametrize("make", KERNELS, ids=NAMES)
def test_the_same_seed_is_the_same_chain(make):
    alg = make(tree)
    draws = []
    for _ in range(2):
        generator, state = rng(3), alg.init(POSITION)
        for _ in range(4):
            state, _ = alg.step(generator, state)
        draws.append(state.position["a"])
    assert torch.equal(*draws)


@pytest.mark.parametrize("make", KERNELS, ids=NAMES)
def test_an_interrupted_chain_goes_on(make, tmp_path):
    alg = make(tree)
    generator, state = rng(3), alg.init(POSITION)
    for i in range(6):
        if i == 3:
            torch.save((state, generator.get_state()), tmp_path / "chain.pt")
        state, _ = alg.step(generator, state)
    with torch.serialization.safe_globals([type(state)]):
        saved, place = torch.load(tmp_path / "chain.pt")
    generator = torch.Generator()
    generator.set_state(place)
    for _ in range(3):
        saved, _ = alg.step(generator, saved)
    assert torch.equal(saved.position["a"], state.position["a"])


def test_interrupted_runs_go_on(tmp_path):
    """After a warm-up with many chains: state, parameters and generator are saved, and draw what they would have."""
    target = lambda x: -torch.cosh(x).sum(-1)
    generator = rng(2)
    state, params = window_adaptation(nuts, target, batched=True).run(generator, torch.ones(4, 2), 40, chains=True)
    state = run(generator, nuts(target, batched=True, **params), state, 5).state
    torch.save((state, params, generator.get_state()), tmp_path / "run.pt")
    due = run(generator, nuts(target, batched=True, **params), state, 6).positions
    with torch.serialization.safe_globals([type(state), Diagonal]):
        state, params, place = torch.load(tmp_path / "run.pt")
    generator = torch.Generator()
    generator.set_state(place)
    assert torch.equal(run(generator, nuts(target, batched=True, **params), state, 6).positions, due)
    assert not torch.equal(run(generator, nuts(target, batched=True, **params), state, 6).positions, due)


MATRICES = [
    None,
    Diagonal(torch.tensor([0.5, 2.0], dtype=DTYPE)),
    DenseMatrix(torch.tensor([[1.0, 0.3], [0.3, 2.0]], dtype=DTYPE)),
]


@pytest.mark.parametrize("matrix", MATRICES, ids=str)
def test_the_leapfrog_is_reversible_and_second_order(matrix):
    f = lambda x: -torch.cosh(x).sum()
    positions = Positions(torch.zeros(2, dtype=DTYPE), False)
    target = Target(f, positions, False)
    rows = start(target, torch.tensor([[0.3, -0.8]], dtype=DTYPE))
    metric = hmc(f, inverse_mass_matrix=matrix).tuning(rows).metric
    p = torch.tensor([[0.7, 0.2]], dtype=DTYPE)

    def there(rows, p, dt, steps):
        for _ in range(steps):
            rows, p = leapfrog(target, rows, p, torch.tensor([[dt]], dtype=DTYPE), metric)
        return rows, p

    energy = lambda rows, p: float(kinetic(p, metric)[0] - rows.logdensity[0])
    end, q = there(rows, p, 0.1, 20)
    back, r = there(end, q, -0.1, 20)
    assert torch.allclose(back.q, rows.q, atol=1e-13)
    assert torch.allclose(r, p, atol=1e-13)
    errors = [abs(energy(*there(rows, p, dt, round(2 / dt))) - energy(rows, p)) for dt in (0.1, 0.05)]
    assert 1.7 < math.log2(errors[0] / errors[1]) < 2.3


def test_momenta_have_the_mass_matrix_as_covariance():
    covariance = torch.tensor([[1.0, 0.3], [0.3, 2.0]], dtype=DTYPE)
    z = torch.randn(200_000, 2, generator=rng(), dtype=DTYPE)
    for metric in (DenseMatrix(covariance), Diagonal(covariance.diagonal())):
        due = metric.covariance if isinstance(metric, DenseMatrix) else torch.diag(metric.variance)
        assert torch.allclose(torch.cov(metric.displacement(z).T), due, atol=0.03)
        assert torch.allclose(torch.cov(metric.momentum(z).T), torch.linalg.inv(due), atol=0.03)
        assert torch.allclose(metric.velocity(torch.eye(2, dtype=DTYPE)), due)


def test_a_step_begins_with_the_target_as_it_is_now():
    """The weights that the density closes over move between the steps."""
    centre = torch.zeros(2, dtype=DTYPE)
    alg = hmc(lambda x: -50 * ((x - centre) ** 2).sum(), step_size=0.1, num_integration_steps=15)
    generator = rng()
    state = alg.init(torch.zeros(2, dtype=DTYPE))
    centre.fill_(3.0)
    found = []
    for _ in range(200):
        state, _ = alg.step(generator, state)
        found.append(state.position)
    assert torch.allclose(torch.stack(found[20:]).mean(0), centre, atol=0.05)
    assert torch.allclose(state.logdensity, -50 * ((state.position - centre) ** 2).sum())


def test_another_target_and_a_batch():
    alg = nuts(lambda x, data: -((x - data) ** 2).sum() / 2, step_size=0.8)
    state = alg.init(torch.zeros(2), torch.ones(2))
    state, _ = alg.step(rng(), state, torch.full((2,), 5.0))
    assert torch.allclose(state.logdensity, -((state.position - 5.0) ** 2).sum() / 2)
    state, _ = alg.step(rng(), state, logdensity=normal)
    assert torch.allclose(state.logdensity, normal(state.position))


def test_a_model_is_a_position():
    """Its weights as one vector, and as they are."""
    torch.manual_seed(0)
    model = Chain(Dense(2, 3, tanh), Dense(3, 1))
    x, y = torch.randn(20, 2, generator=rng()), torch.randn(20, 1, generator=rng(1))
    logdensity = lambda m: -((m(x) - y) ** 2).sum() / 2 - sum((p**2).sum() for p in m.parameters()) / 2
    flat, rebuild = destructure(model)
    for alg, position, model_of in (
        (nuts(lambda v: logdensity(rebuild(v)), step_size=0.05), flat.detach(), rebuild),
        (hmc(logdensity, step_size=0.05), model, lambda m: m),
    ):
        state, info = alg.step(rng(), alg.init(position))
        assert not info.is_divergent
        assert torch.allclose(logdensity(model_of(state.position)), state.logdensity, rtol=1e-4)


def test_nuts_makes_at_most_so_many_steps_and_tells_divergences():
    alg = nuts(normal, step_size=0.001, max_num_doublings=4)
    _, info = alg.step(rng(), alg.init(torch.ones(3)))
    assert info.num_integration_steps == 2**4 - 1
    alg = nuts(lambda x: -1e6 * (x**4).sum(), step_size=1.0)
    state, info = alg.step(rng(), alg.init(torch.full((2,), 0.1)))
    assert info.is_divergent
    assert torch.equal(state.position, torch.full((2,), 0.1))


def test_runs_go_on_where_they_stopped_and_thin():
    alg = hmc(normal, step_size=0.5)
    generator = rng()
    first = run(generator, alg, torch.zeros(3, 2), 20)
    second = run(generator, alg, first.state, 20)
    whole = run(rng(), alg, torch.zeros(3, 2), 40)
    assert torch.equal(torch.cat((first.positions, second.positions), 1), whole.positions)
    assert torch.equal(run(rng(), alg, torch.zeros(3, 2), 20, thin=2).positions, whole.positions[:, 1::2])


@pytest.mark.parametrize("dtype", [torch.float32, DTYPE])
def test_a_run_of_one_chain_goes_on(dtype):
    """Its state has no axis for the chains: three numbers aren't three chains."""
    alg = nuts(normal, 0.5, DenseMatrix(torch.eye(3)))  # of another dtype than the position
    first, _ = alg.step(rng(), alg.init(torch.zeros(3, dtype=dtype)))
    for samples in (run(rng(1), alg, first, 4), run(rng(1), alg, first.position[None], 4)):
        assert samples.positions.shape == (1, 4, 3)
        assert samples.positions.dtype == samples.state.position.dtype == dtype
        assert torch.equal(samples.positions, run(rng(1), alg, first, 4).positions)


class Tied(torch.nn.Module):
    """Two layers with the same weights, a frozen one, and a buffer."""

    def __init__(self):
        super().__init__()
        self.first, self.last = (torch.nn.Linear(2, 2, bias=False) for _ in range(2))
        self.last.weight = self.first.weight
        self.frozen = torch.nn.Linear(2, 2).requires_grad_(False)
        self.norm = torch.nn.BatchNorm1d(2, affine=False).eval()

    def forward(self, x):
        return self.last(self.norm(self.frozen(self.first(x))))


@pytest.mark.parametrize("make", [rwm, hmc, nuts], ids=["rwm", "hmc", "nuts"])
def test_what_trains_in_a_model_is_sampled_and_stays_tied(make):
    model = Tied()
    alg = make(lambda m: normal(m(torch.ones(1, 2)) - 1) + normal(m.first.weight))
    state = alg.init(model)
    for _ in range(4):
        state, _ = alg.step(rng(1), state)
    found = state.position
    assert isinstance(found.first.weight, torch.nn.Parameter)
    assert found.first.weight is found.last.weight
    assert not torch.equal(found.first.weight, model.first.weight)
    assert torch.equal(found.frozen.weight, model.frozen.weight)
    assert torch.equal(found.norm.running_var, model.norm.running_var)
    assert Positions(found, False).sizes == [4]
    with pytest.raises(TypeError, match="not all of them frozen"):
        alg.init(model.frozen)


def test_chains_of_models():
    """Of stacked parameters; the same tensor as two parts is no tie."""
    model = fmap(lambda x: torch.stack([x.detach()] * 3), torch.nn.Linear(2, 1))
    zero = torch.zeros(3)
    f = lambda p: normal(p["m"](torch.ones(1, 2))) + normal(p["m"].weight) + normal(p["a"]) + normal(p["b"] - 3)
    samples = run(rng(), hmc(f, 0.5, 3), {"m": model, "a": zero, "b": zero}, 60)
    assert summary(samples).names == ["m.weight[0, 0]", "m.weight[0, 1]", "m.bias[0]", "a", "b"]
    assert abs(float((samples.positions["b"] - samples.positions["a"])[:, 10:].mean()) - 3) < 1


def test_a_run_with_batches_goes_on_with_the_next():
    """None is taken from the stream that no transition sees."""
    alg = sgld(lambda x, centre: normal(x - centre), 0.1)
    numbers = lambda: iter(torch.arange(24.0))
    whole = run(rng(), alg, torch.zeros(2, 2), 12, batches=numbers(), thin=2).positions
    generator, rest = rng(), numbers()
    first = run(generator, alg, torch.zeros(2, 2), 5, batches=rest, thin=2)
    second = run(generator, alg, first.state, 7, batches=rest, thin=2)
    assert torch.equal(torch.cat((first.positions, second.positions), 1), whole)
    assert next(rest, None) is None


def test_bars(capsys):
    state, params = window_adaptation(nuts, normal).run(rng(), torch.zeros(2, 3), 20, chains=True, progress=True)
    assert "warm-up: 100%" in capsys.readouterr().err
    run(rng(), nuts(normal, **params), state, 5, progress=True)
    assert "10/10" in (shown := capsys.readouterr().err)
    assert "divergences=" in shown
    run(rng(), nuts(normal, **params), state, 5)
    assert not capsys.readouterr().err


def test_minibatches():
    """Langevin steps with batches find the posterior of a mean."""
    data = 2 + torch.randn(1000, generator=rng(), dtype=DTYPE)
    estimate = minibatch(lambda w: -(w**2) / 2, lambda w, x: -((x - w) ** 2) / 2, len(data))
    loader = torch.utils.data.DataLoader(data, batch_size=100, shuffle=True, generator=rng(5))
    due, spread = float(data.sum() / 1001), 1001**-0.5
    for alg in (sgld(estimate, step_size=1e-5), sghmc(estimate, step_size=2e-6, friction=0.1)):
        samples = run(rng(), alg, torch.full((20,), due, dtype=DTYPE), 400, batches=loader)
        x = samples.positions[:, 100:]
        assert abs(float(x.mean()) - due) < 0.3 * spread
        assert 0.6 * spread < float(x.std()) < 1.7 * spread


def test_langevin_without_batches_has_the_right_spread():
    for alg in (sgld(normal, step_size=0.02), sghmc(normal, step_size=0.01, friction=0.1)):
        x = run(rng(), alg, torch.randn(400, 2, generator=rng(1), dtype=DTYPE), 60).positions
        assert abs(float(x[:, -1].var()) - 1) < 0.15


def test_warm_up_finds_the_scales():
    scales = torch.tensor([0.3, 3.0], dtype=DTYPE)
    f = lambda x: -((x / scales) ** 2).sum(-1) / 2
    for dense in (False, True):
        warmup = window_adaptation(nuts, f, dense=dense, batched=True)
        state, params = warmup.run(rng(), torch.ones(8, 2, dtype=DTYPE), 100, chains=True)
        matrix = params["inverse_mass_matrix"]
        variance = matrix.covariance.diagonal(dim1=1, dim2=2) if dense else matrix.variance
        assert ((variance.mean(0) / scales**2).log().abs() < 0.5).all()
        samples = run(rng(1), nuts(f, batched=True, **params), state, 150)
        assert 0.75 < samples.info.acceptance_rate.mean() < 0.97
        assert torch.allclose(samples.positions.flatten(0, 1).std(0) / scales, torch.ones(2, dtype=DTYPE), atol=0.15)


def test_warm_up_of_one_chain():
    state, params = window_adaptation(hmc, normal, num_integration_steps=4).run(rng(), torch.zeros(3), 60)
    assert isinstance(params["step_size"], float)
    assert params["inverse_mass_matrix"].shape == (3,)
    assert state.position.shape == (3,)


def test_windows():
    assert windows(1000) == [(75, 100), (100, 150), (150, 250), (250, 450), (450, 950)]
    assert windows(100) == [(15, 90)]
    assert windows(10) == []
    assert all(a[1] == b[0] for n in range(20, 400) for a, b in zip(windows(n), windows(n)[1:], strict=False))


@pytest.mark.parametrize(
    ("alg", "position", "message"),
    [
        (hmc(lambda x: x.sum() * float("nan")), torch.ones(2), "the log density is nan where the position starts"),
        (hmc(lambda x: -(x**2)), torch.ones(2), r"shape \(2,\), not \(\)"),
        (hmc(lambda x: -1.0), torch.ones(2), "return a tensor"),
        (hmc(lambda p: normal(p["a"])), {"a": torch.ones(2), "b": torch.ones(1)}, r"doesn't depend on position\['b'\]"),
        (hmc(normal), torch.ones(2, dtype=torch.long), "pass floats"),
        (hmc(normal), torch.tensor([1.0, float("inf")]), "NaN or inf"),
        (hmc(normal), {"a": torch.ones(2), "b": torch.ones(1, dtype=DTYPE)}, "convert them to one"),
        (hmc(normal), 3.0, "pass a tensor"),
    ],
)
def test_bad_positions_and_densities(alg, position, message):
    with pytest.raises((ValueError, TypeError), match=message):
        alg.init(position)


@pytest.mark.parametrize(
    ("alg", "message"),
    [
        (hmc(normal, step_size=-1.0), "positive number"),
        (hmc(normal, inverse_mass_matrix=torch.ones(5)), "the position takes"),
        (hmc(normal, inverse_mass_matrix=-torch.ones(2)), "positive"),
        (nuts(normal, inverse_mass_matrix=-torch.eye(2)), "not positive definite"),
        (gibbs(lambda p: normal(p), {"a": rwm(normal)}), "has a block 'a'"),
    ],
)
def test_bad_parameters(alg, message):
    with pytest.raises(ValueError, match=message):
        alg.step(rng(), alg.init(torch.ones(2)))


def test_bad_runs():
    with pytest.raises(ValueError, match="at least 1"):
        run(rng(), hmc(normal), torch.zeros(2, 2), 0)
    for make in (nuts, hmc, rwm, lambda f: repeat(mala(f), 2)):
        with pytest.raises(ValueError, match="begins with what the one before has evaluated, with its batch"):
            run(rng(), make(lambda x, b: normal(x)), torch.zeros(2, 2), 5, batches=[1])
    with pytest.raises(ValueError, match="a batch for all transitions, or batches="):
        run(rng(), sgld(lambda x, b: normal(x)), torch.zeros(2, 2), 5, 1, batches=[1])
    with pytest.raises(ValueError, match=r"num_samples is 3\.0: pass a whole number"):
        run(rng(), hmc(normal), torch.zeros(2, 2), 3.0)
    with pytest.raises(ValueError, match="nothing in it"):
        run(rng(), sgld(lambda x, b: normal(x)), torch.zeros(2, 2), 5, batches=iter([1]))
    alg = gibbs(lambda p: normal(p["a"]) + normal(p["b"]), {"a": rwm(normal)})
    state = alg.init({"a": torch.ones(2), "b": torch.ones(2)})
    with pytest.raises(ValueError, match="no block for"):
        alg.step(rng(), state)
    with pytest.raises(ValueError, match="friction"):
        sghmc(normal, friction=0.0)
    assert np.isfinite(run(rng(), hmc(normal), torch.zeros(2, 2), 3).info.energy).all()


def test_every_chain_may_have_data_of_its_own():
    data = torch.tensor([-2.0, 0.0, 5.0], dtype=DTYPE)
    f = lambda z: -((z - data) ** 2) / 2
    z = run(rng(), hmc(f, 0.7, 3, batched=True), data, 400).positions  # nearly independent draws
    assert ((z.mean(1) - data).abs() < 0.25).all()


@pytest.mark.parametrize("flat", [True, False])
def test_chains_of_models_have_the_slopes_of_each(flat):
    """A model as a vector, and as it is."""
    torch.manual_seed(0)
    model = Chain(Dense(2, 3, tanh), Dense(3, 1)).double()
    vector, rebuild = destructure(model)
    rows = torch.stack([vector.detach(), vector.detach() - 1])
    prior = lambda w: -sum(x.square().sum() for x in trainables(w)) / 2
    f = lambda m: prior(m) - (m(torch.ones(4, 2, dtype=DTYPE)) - 1).square().sum()
    of_vector = lambda w: f(rebuild(w)) - w.square().sum()
    if flat:
        _, slopes = Target(of_vector, Positions(rows, True), False).value_and_gradient(rows)
    else:
        models = fmap(lambda x: torch.stack([x.detach(), x.detach() - 1]), model)
        _, slopes = Target(f, Positions(models, True), False).value_and_gradient(rows)
    g = of_vector if flat else lambda w: f(rebuild(w))
    due = [torch.autograd.grad(g(w), w)[0] for w in rows.requires_grad_().unbind()]
    assert torch.allclose(slopes, torch.stack(due))


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile asks for that of what it is called with
@pytest.mark.parametrize("batched", [True, False])
def test_a_compiled_density(batched):
    """The draws are those without `torch.compile`, and weights that move compile nothing."""
    centre = torch.zeros(3)
    f = lambda x: -((x - centre) ** 2).sum(-1) / 2 - torch.cosh(x / 3).sum(-1)
    compiled = torch.compile(f, backend="eager", dynamic=True)
    draws = lambda f: run(rng(), nuts(f, 0.3, batched=batched), torch.zeros(6, 3), 4).positions
    assert torch.allclose(draws(compiled), draws(f), atol=1e-5)
    alg, generator = hmc(compiled, 0.3, batched=batched), rng()
    state, _ = alg.step(generator, alg.init(torch.zeros(6, 3), chains=True))
    for _ in range(3):
        centre += 1
        with torch.compiler.set_stance("fail_on_recompile"):
            state, _ = alg.step(generator, state)
        assert torch.allclose(state.logdensity, torch.stack([f(x) for x in state.position]), rtol=1e-4)


def test_batches_of_a_loader_in_blocks():
    """The batch is that of the transition, for every block: with two in turns, each other draw is around each."""
    f = lambda p, centre: -50 * (p["a"] - centre) ** 2 - (p["b"] - p["a"]) ** 2 / 2
    alg = gibbs(f, {"a": hmc(f, 0.0157, 10), "b": repeat(sgld(f, 0.1), 3)})  # a quarter of a period
    start = {"a": torch.zeros(100), "b": torch.zeros(100)}
    a = run(rng(), alg, start, 20, batches=[torch.tensor(0.0), torch.tensor(3.0)]).positions["a"]
    assert abs(float(a[:, 10::2].mean())) < 0.1
    assert abs(float(a[:, 11::2].mean()) - 3) < 0.1
