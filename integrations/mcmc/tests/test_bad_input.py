"""What can't be sampled is refused at once, in words that say what to do; what goes wrong later is reported."""

import pytest
import torch

from torchflux_mcmc import (
    Dense,
    Diagonal,
    elliptical_slice,
    gibbs,
    hmc,
    mala,
    nuts,
    repeat,
    run,
    rwm,
    sghmc,
    sgld,
    summary,
    window_adaptation,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(x):
    return -(x**2).sum() / 2


def part(p, *batch):
    return normal(p["a"])


PARTS = {"a": torch.ones(3, 2), "b": torch.ones(3, 2)}
ALL_WAYS = {
    "init": lambda alg, x: alg.init(x, chains=True),
    "run": lambda alg, x: run(rng(), alg, x, 3),
    "warm-up": lambda alg, x: window_adaptation(nuts, alg.logdensity).run(rng(), x, 25, chains=True),
}


@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize(
    ("logdensity", "position", "message"),
    [
        (lambda x: x.log().sum(), torch.tensor([[1.0], [-1.0]]), "the log density is nan where chain 1 starts"),
        (lambda x: -x.abs().sqrt().sum(), torch.tensor([[1.0], [0.0]]), "gradient has NaN or inf where chain 1 starts"),
        (lambda x: -(x**2), torch.ones(3, 2), r"has the shape \(2,\), not \(\): return a scalar"),
        (lambda x: torch.ones(()), torch.ones(3, 2), "doesn't depend on the position"),
        (part, PARTS, r"doesn't depend on position\['b'\]: leave it out"),
        (normal, torch.ones(3, 2, dtype=torch.int64), "is torch.int64: a position changes continuously"),
        (normal, torch.ones(0, 2), "no chain or no number in it"),
    ],
    ids=["NaN", "slope", "vector", "nothing", "part", "integers", "empty"],
)
def test_refused_wherever_chains_start(way, logdensity, position, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ALL_WAYS[way](nuts(logdensity), position)


@pytest.mark.parametrize("make", [sgld, sghmc, hmc, lambda f: gibbs(f, {"a": hmc(f), "b": rwm(f)})])
def test_a_part_without_a_density_would_wander_off(make):
    with pytest.raises(ValueError, match=r"doesn't depend on position\['b'\]"):
        run(rng(), make(part), PARTS, 3)


def test_what_is_not_a_generator_a_state_or_a_kernel():
    alg = nuts(normal)
    with pytest.raises(TypeError, match=r"generator is 0: pass a torch\.Generator"):
        alg.step(0, alg.init(torch.ones(2)))
    with pytest.raises(TypeError, match=r"generator is 3: pass a torch\.Generator"):
        run(3, alg, torch.ones(2, 2), 5)
    with pytest.raises(TypeError, match="generator is None"):
        window_adaptation(nuts, normal).run(None, torch.ones(2), 20)
    with pytest.raises(TypeError, match="state is a Tensor: pass what init"):
        alg.step(rng(), torch.ones(2))
    with pytest.raises(TypeError, match="pass a kernel, as nuts"):
        run(rng(), nuts, torch.ones(2, 2), 5)


def test_branches_on_values_say_what_to_do():
    alg = nuts(lambda x: normal(x) if x.sum() > 0 else 2 * normal(x))
    assert alg.init(torch.ones(2)).logdensity == -1.0
    with pytest.raises(RuntimeError, match="vmap") as caught:
        alg.init(torch.ones(3, 2), chains=True)
    assert "branch with torch.where, or pass batched=True" in caught.value.__notes__[0]


def test_a_divergent_model_is_reported():
    """No move is accepted: the draws don't change, and R-hat of such draws isn't called good or bad."""
    samples = run(rng(), nuts(lambda x: -1e8 * (x**4).sum(), step_size=1.0), torch.full((4, 2), 0.1), 30)
    table = str(summary(samples))
    assert samples.divergences == 120
    assert samples.info.is_divergent.all()
    assert "120 transitions (100.0%) diverged" in table
    assert "position[0], position[1]: all draws are the same: no move was accepted" in table
    assert "R-hat" not in table


def test_a_density_that_ends_is_reported():
    """NaN beyond a wall: no draw lies there, and the trajectories that met it are counted."""
    logdensity = lambda x: torch.where(x.abs().max() < 1.0, normal(x), torch.nan)
    samples = run(rng(), nuts(logdensity, step_size=0.5), torch.zeros(4, 2), 30)
    assert (samples.positions.abs() < 1.0).all()
    assert samples.divergences > 20
    assert "diverged: the trajectories left the density" in str(summary(samples))


def test_a_target_that_moves_away_is_told():
    """Between two steps it becomes NaN where the chain is."""
    edge = torch.tensor(0.0)
    alg = hmc(lambda x: (x - edge).log().sum() - x.sum(), step_size=0.1)
    state = alg.init(torch.ones(2))
    edge.fill_(5.0)
    with pytest.raises(ValueError, match="the log density is nan where the position starts"):
        alg.step(rng(), state)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.tensor([[1.0, 0.9, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), "not symmetric"),
        (lambda: Diagonal(-torch.ones(3)), "has to be positive"),
        (lambda: Diagonal(torch.ones(5)), r"has the shape \(5,\); the position takes \(3,\), or \(4, 3\)"),
        (lambda: Diagonal(torch.ones(1)), r"has the shape \(1,\)"),
        (lambda: Diagonal(torch.ones(2, 3)), r"has the shape \(2, 3\)"),
        (lambda: Dense(torch.eye(2)), r"has the shape \(2, 2\); the position takes \(3, 3\), or \(4, 3, 3\)"),
        (torch.ones(4, 3), r"has the shape \(4, 3\)"),
    ],
)
def test_metrics_that_fit_nothing(matrix, message):
    """One that isn't symmetric would draw momenta of another density than that of their energy."""
    with pytest.raises(ValueError, match=message):
        run(rng(), nuts(normal, 0.5, matrix() if callable(matrix) else matrix), torch.zeros(4, 3), 3)


def test_priors_that_fit_nothing():
    for options, message in (
        ({"mean": torch.zeros(5)}, r"mean has the shape \(5,\): pass a number, or 2 of them"),
        ({"mean": torch.zeros(4, 1)}, r"mean has the shape \(4, 1\)"),
        ({"covariance": torch.ones(4)}, r"covariance has the shape \(4,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            run(rng(), elliptical_slice(normal, **options), torch.zeros(4, 2), 3)


@pytest.mark.parametrize(
    ("draw", "drew"),
    [
        (lambda g, p: (torch.zeros(2), torch.zeros(())), r"{'b': \(2,\), 'a': \(\)}"),
        (lambda g, p: torch.zeros(3), "{'': "),
        (lambda g, p: (torch.zeros(2), torch.zeros(()), 1), "0"),
        (lambda g, p: 1.0, "1.0"),
    ],
)
def test_conditionals_that_draw_something_else(draw, drew):
    f = lambda p: normal(p["a"]) + normal(p["b"])
    with pytest.raises(ValueError, match=rf"drew .*{drew}.*, the block has {{'b': \(\), 'a': \(2,\)}}"):
        run(rng(), gibbs(f, {("b", "a"): draw}), {"a": torch.zeros(4, 2), "b": torch.zeros(4)}, 3)
    with pytest.raises(ValueError, match="whose kernel is gibbs: name that one's blocks here"):
        gibbs(f, {"a": gibbs(f, {"a": rwm(f)}), "b": rwm(f)})


@pytest.mark.parametrize("make", [rwm, hmc, nuts, sgld, lambda f: gibbs(f, {"": rwm(f)})])
@pytest.mark.parametrize("chains", [1, 3])
def test_a_density_that_draws_random_numbers(make, chains):
    alg = make(lambda x: -(torch.nn.functional.dropout(x, 0.5) ** 2).sum())
    with pytest.raises(ValueError, match="draws random numbers: it would be another one at each call"):
        run(rng(), alg, torch.ones(chains, 40), 3)


def test_data_of_each_chains_own_where_chains_are_dropped():
    """At once, not when the first chain is done."""
    data = torch.tensor([[-2.0], [0.0], [5.0]])
    f = lambda x: -((x - data) ** 2).sum(-1) / 2
    for alg in (nuts(f, 0.5, batched=True), repeat(nuts(f, 0.5, batched=True), 2)):
        with pytest.raises(ValueError, match="can't take 1 of the 3 chains"):
            alg.init(torch.zeros(3, 1), chains=True)
    with pytest.raises(ValueError, match="can't take 1 of the 3 chains"):
        window_adaptation(nuts, f, batched=True).run(rng(), torch.zeros(3, 1), 30, chains=True)
    kept = gibbs(
        lambda p: -((p["x"] - p["data"]) ** 2).sum(-1) / 2,
        {"x": nuts(f, 0.7), "data": lambda _, p: p["data"]},
        batched=True,
    )
    x = run(rng(), kept, {"x": torch.zeros(3, 1), "data": data}, 300).positions["x"]
    assert ((x.mean(1) - data).abs() < 0.3).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hmc(normal, num_integration_steps=0), "num_integration_steps is 0: pass a whole number, at least 1"),
        (lambda: hmc(normal, num_integration_steps=2.5), "num_integration_steps is 2.5"),
        (lambda: sghmc(normal, num_integration_steps=0), "num_integration_steps is 0"),
        (lambda: nuts(normal, max_num_doublings=20), "max_num_doublings is 20: .* at least 1, at most 16"),
        (lambda: sgld(normal, temperature=-1.0), "temperature is -1.0"),
        (lambda: repeat(rwm(normal), 0), "times is 0"),
        (lambda: window_adaptation(nuts, normal).run(rng(), torch.zeros(2), 0), "num_steps is 0"),
        (lambda: window_adaptation(nuts, normal, step_size=0.1), "'step_size'] are found by warm-up"),
        (lambda: window_adaptation(rwm, normal), "pass the class of a kernel with a mass matrix, as nuts"),
        (lambda: window_adaptation(nuts(normal), normal), "pass the class of a kernel"),
        (lambda: window_adaptation(nuts, lambda x: 0 * x.sum()).run(rng(), torch.zeros(2), 9), "and not flat"),
    ],
)
def test_options_that_make_no_sense(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("make", [rwm, mala, lambda f, step: hmc(f, step, 1), nuts, elliptical_slice])
def test_no_chain_moves_into_a_pole(make):
    """The density is infinite beyond a wall: a chain that went there would never come back."""
    f = lambda x: torch.where(x.abs().max() < 1.0, normal(x), torch.inf)
    alg = make(f) if make is elliptical_slice else make(f, 0.9)
    samples = run(rng(), alg, torch.zeros(8, 2), 40)
    assert (samples.positions.abs() < 1.0).all()
    assert (samples.positions != 0).any(2).double().mean() > 0.5


def test_slices_that_rounding_closes():
    """The position isn't the prior's mean and what is left of it: no angle leads back into the slice."""
    alg = elliptical_slice(lambda x: -(((x - 1e-3) / 1e-7) ** 2).sum(), mean=1000.0)
    state, info = alg.step(rng(), alg.init(torch.tensor([1e-3])))
    assert state.position == torch.tensor(1e-3)
    assert info.num_integration_steps < 200


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_steps_inside_of_no_grad(around):
    """And no gradient flows through a step."""
    alg = nuts(normal, torch.tensor(0.5, requires_grad=True), torch.ones(2, requires_grad=True))
    x = torch.ones(2, requires_grad=True)
    due, _ = alg.step(rng(), alg.init(x))
    with around():
        state, _ = alg.step(rng(), alg.init(x))
    assert torch.equal(state.position, due.position)
    assert not due.position.requires_grad
    assert torch.equal(alg.step(rng(), state)[0].position, alg.step(rng(), due)[0].position)


def test_repeat_tells_all_divergences():
    f = lambda x: torch.where(x.abs().max() < 1.0, normal(x), torch.nan)
    once, often = (run(rng(), repeat(hmc(f, 0.5, 1), times), torch.zeros(40, 2), 120 // times) for times in (1, 4))
    assert often.divergences == once.info.is_divergent.reshape(40, 30, 4).any(2).sum() > 100
