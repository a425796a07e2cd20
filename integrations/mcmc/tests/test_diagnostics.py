"""Effective sample sizes and R-hat are ArviZ's; samples become its data, and pictures."""

import math
from dataclasses import replace

import arviz
import numpy as np
import pytest
import torch

from torchflux_mcmc import ess_bulk, ess_tail, hmc, nuts, plot_rank, plot_trace, rhat, run, summary, to_arviz


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def chains(seed, number, draws, correlation, shift=0.0):
    """Stationary autoregressions, one after the other by `shift`."""
    generator = np.random.default_rng(seed)
    x = np.zeros((number, draws))
    x[:, 0] = generator.normal(size=number)
    for t in range(1, draws):
        x[:, t] = correlation * x[:, t - 1] + math.sqrt(1 - correlation**2) * generator.normal(size=number)
    return x + shift * np.arange(number)[:, None]


CASES = {
    "independent": chains(0, 4, 200, 0.0),
    "sticky, of odd length": chains(1, 4, 301, 0.9),
    "alternating": chains(2, 2, 100, -0.7),
    "apart, of odd halves": chains(3, 3, 150, 0.5, 1.0),
    "heavy tails": np.tan(chains(5, 4, 200, 0.3)),
    "ties": np.round(chains(6, 4, 200, 0.5)),
    "nine draws": chains(7, 4, 9, 0.2),
    "a trend": chains(8, 2, 100, 0.3) + np.linspace(0, 3, 100),
    "four draws": chains(9, 4, 4, 0.0),
}
ARVIZ = {
    "independent": (790.5068107378728, 811.8755104006659, 0.9988015003273107),
    "sticky, of odd length": (70.11033532411926, 210.92347945593949, 1.041146949862432),
    "alternating": (460.2059991327962, 180.66682417291813, 1.0128777760886714),
    "apart, of odd halves": (8.628654973731019, 136.49405432924456, 1.312040144350807),
    "heavy tails": (723.3404230980798, 630.3788755342395, 0.9991945319453069),
    "ties": (319.9995901734397, 415.3734833873801, 1.006436182003392),
    "nine draws": (48.16479930623699, 48.16479930623699, 1.3118364538327327),
    "a trend": (6.431037243661348, 42.79105337435507, 1.244327682494924),
    "four draws": (19.265919722494797, 19.265919722494797, 1.000447010120052),
}
"""`arviz.ess(x, method="bulk")`, `arviz.ess(x, method="tail")` and `arviz.rhat(x, method="rank")` of ArviZ 0.23.4."""


@pytest.mark.parametrize("name", CASES)
def test_against_stored_values(name):
    found = [float(measure(CASES[name])) for measure in (ess_bulk, ess_tail, rhat)]
    assert np.allclose(found, ARVIZ[name], rtol=1e-11)
    assert not np.allclose([float(measure(CASES[name] ** 3 + CASES[name][:, ::-1])) for measure in (ess_bulk, rhat)],
                           [ARVIZ[name][0], ARVIZ[name][2]], rtol=1e-11)  # fmt: skip


def test_against_arviz():
    """Of chains of every length, that mix well or badly."""
    generator = np.random.default_rng(0)
    for draws in range(4, 64):
        x = generator.normal(size=(2 + draws % 3, draws))
        x = x.cumsum(1) if draws % 2 else x * (-1) ** np.arange(draws) + generator.normal(size=(len(x), 1))
        due = [arviz.ess(x, method="bulk"), arviz.ess(x, method="tail"), arviz.rhat(x, method="rank")]
        assert np.allclose([float(measure(x)) for measure in (ess_bulk, ess_tail, rhat)], due, rtol=1e-10)


def test_one_chain_and_constants():
    assert math.isclose(float(ess_bulk(chains(4, 1, 500, 0.6))), 81.42615215987725, rel_tol=1e-11)
    assert math.isclose(float(ess_tail(chains(4, 1, 500, 0.6))), 189.816298872364, rel_tol=1e-11)
    assert float(ess_bulk(np.ones((4, 50)))) == float(ess_tail(np.ones((4, 50)))) == 200.0
    assert np.isnan(rhat(np.ones((4, 50))))
    assert np.isnan(ess_bulk(np.full((4, 50), np.nan)))
    with pytest.raises(ValueError, match="at least four draws"):
        rhat(np.ones((4, 3)))


def sampled(alg=None, draws=60):
    alg = alg or nuts(lambda p: -(p["m"] ** 2) / 2 - ((p["x"] - p["m"]) ** 2).sum() / 2, step_size=0.7)
    return run(rng(), alg, {"m": torch.zeros(3), "x": torch.zeros(3, 2)}, draws)


def test_summaries_name_and_warn():
    table = summary(sampled())
    assert table.names == ["m", "x[0]", "x[1]"]
    assert table["x[1]"]["rhat"] < 1.2
    assert "fewer than 100 effective draws" in str(table)
    draws = np.asarray(sampled().positions["m"])
    assert math.isclose(table["m"]["ess_tail"], float(ess_tail(draws)))
    assert math.isclose(table["m"]["50%"], float(np.median(draws)), rel_tol=1e-6)


def test_divergences_are_reported():
    """A density that a step of this size leaves at once."""
    alg = hmc(lambda p: -1e4 * (p["m"] ** 4 + (p["x"] ** 4).sum()), step_size=1.0)
    samples = run(rng(), alg, {"m": torch.full((3,), 0.1), "x": torch.full((3, 2), 0.1)}, 10)
    assert samples.divergences == 30
    assert any("30 transitions (100.0%) diverged" in warning for warning in summary(samples).warnings)


def test_arviz_takes_the_draws():
    samples = sampled()
    data = to_arviz(samples)
    assert dict(data.posterior.sizes) == {"chain": 3, "draw": 60, "x_dim_0": 2}
    assert np.array_equal(data.posterior["x"].values, np.asarray(samples.positions["x"]))
    assert np.array_equal(data.sample_stats["n_steps"].values, samples.info.num_integration_steps)
    assert not data.sample_stats["diverging"].values.any()
    table = arviz.summary(data, round_to="none")
    assert list(table.index) == summary(samples).names
    assert np.allclose(table["ess_bulk"], [summary(samples)[name]["ess_bulk"] for name in table.index])
    assert arviz.bfmi(data).shape == (3,)


def test_pictures():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    samples = sampled()
    traces, ranks = plot_trace(samples), plot_rank(samples, bins=10)
    assert traces.shape == (3, 2)
    assert ranks.shape == (3, 1)
    assert [ax.get_ylabel() for ax in traces[:, 0]] == ["m", "x[0]", "x[1]"]
    assert np.allclose(traces[0, 1].lines[2].get_ydata(), samples.positions["m"][2])
    assert len(traces[0, 1].lines[3].get_xdata()) == 0
    lost = replace(samples, info=samples.info._replace(is_divergent=np.arange(60) % 30 == np.zeros((3, 1))))
    assert plot_trace(lost)[2, 1].lines[3].get_xdata().tolist() == [0, 30]
    _, own = pyplot.subplots(3, 1)
    assert plot_rank(samples, own)[0, 0] is own[0]
    pyplot.close("all")
