"""The experiments: they are listed, and a short version of each learns and writes its results and its picture."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from torchflux import destructure, trainables
from torchflux_lab import experiments, find
from torchflux_mcmc import hmc
from torchflux_mcmc import run as draw

Short = Callable[..., dict[str, Any]]
FOLDER = Path(__file__).parent.parent / "experiments"


def test_each_says_what_it_is_and_how_it_is_run() -> None:
    found = experiments(FOLDER)
    assert {each.name for each in found} >= {"bnn", "dan", "ebm", "lynx-hare", "mcem", "spiral", "trebuchet"}
    for each in found:
        assert each.summary.endswith("."), each
        readme = (each.script.parent / "README.md").read_text(encoding="utf-8")
        assert f"torchflux run {each.name}" in readme
        assert f"]({each.name}.png)" in readme
        assert (each.script.parent / f"{each.name}.png").is_file()


def test_dan(short: Short) -> None:
    pytest.importorskip("sklearn")
    results = short("dan", "seeds=2", "epochs=12", "lambdas=1")
    plain, routed = results["plain"], results["routed λ=1"]
    assert plain["accuracy"] > 0.7
    assert routed["accuracy"] > plain["accuracy"]
    assert routed["probe"] < plain["probe"] - 0.2


def test_spiral(short: Short) -> None:
    results = short("spiral", "steps=60", "every=30", "end=5", "points=200", "goal=0.1")
    for run in results.values():
        (first, _), *_, (last, _) = run["errors"]
        assert last == run["pieces"] < 0.3 * first
        assert run["goal_after"] == 60
    if len(results) == 2:  # torchdiffeq, where it is installed, goes the same way
        assert results["torchflux"]["pieces"] == pytest.approx(results["torchdiffeq"]["pieces"], rel=1e-3)


def test_trebuchet(short: Short) -> None:
    results = short("trebuchet", "steps=3", "throws=8", "near=77", "far=80", "wind=1", "tests=2", "optimised=1")
    errors = results["training"]["errors"]
    assert results["error of the network"]["mean"] < 0.05 * errors[0]
    assert results["error of optimisation"]["worst"] < 1e-3
    assert results["seconds of an aim"]["network"] < results["seconds of an aim"]["optimisation"]


def test_trebuchets_network_is_the_same_in_machine_code() -> None:
    pytest.importorskip("matplotlib")
    with find("trebuchet", FOLDER).loaded() as program:
        script, p = sys.modules["trebuchet"], program.parameters()
        model = script.make_model(p)
        aim = script.aimed(model(torch.tensor([[33.0, -2.5]]).double()), torch.zeros(1, 2), p)
        assert script.compiled(model, p)(33.0, -2.5) == pytest.approx((aim.angle.item(), aim.mass.item()), rel=1e-12)
        assert math.radians(p.angles[0]) < aim.angle < math.radians(p.angles[1])


def test_lynx_hare(short: Short) -> None:
    results = short("lynx-hare", "origins=1914", "priors=0.1", "seeds=1", "starts=2", "steps=50")
    seen, forecast = results["errors of years seen"], results["errors of forecasts"]
    assert seen["universal, s = 0.1"] < seen["Lotka-Volterra"] < 0.4
    assert forecast["Lotka-Volterra"] < forecast["as on average"]


@pytest.mark.parametrize(("hares", "lynx", "fits"), [(34.0, 5.9, True), (5.9, 34.0, False)])
def test_lynx_hares_equation_fits_with_the_published_numbers(hares: float, lynx: float, fits: bool) -> None:
    """Carpenter's posterior means (2018): rates as in the script, these states in 1900, σ of 0.25 for either."""
    pytest.importorskip("matplotlib")
    with find("lynx-hare", FOLDER).loaded() as program:
        script, p = sys.modules["lynx-hare"], program.parameters()
        start, rates = torch.tensor([[hares, lynx]]).double().log(), torch.tensor([script.CARPENTER]).double().log()
        errors = script.trajectories(script.lotka_volterra, start, rates, p)[:, 0] - script.PELTS
        assert (errors.square().mean(0).sqrt() < 0.3).all().item() is fits


def test_lynx_hares_baselines_are_the_records() -> None:
    """By hand: from 1914 the years 1915 to 1918 as 1905 to 1908."""
    pytest.importorskip("matplotlib")
    hares = (20.6, 18.1, 21.4, 22.0), (19.5, 11.2, 7.6, 14.6)
    lynx = (41.7, 19.0, 13.0, 8.3), (51.1, 29.7, 15.8, 9.7)
    squares = [math.log(a / b) ** 2 for pair in (hares, lynx) for a, b in zip(*pair, strict=True)]
    with find("lynx-hare", FOLDER).loaded() as program:
        script, p = sys.modules["lynx-hare"], program.parameters(origins=(1914,))
        (_, ys), _ = script.baselines(p)
        years = (script.YEARS[:, None] > 1914) & (script.YEARS[:, None] <= 1918)
        assert script.deviations(ys, years).item() == pytest.approx(math.sqrt(sum(squares) / 8))


@pytest.mark.parametrize("given", [{"shown": 1909}, {"origins": (1917,), "shown": 1917}])
def test_lynx_hare_refuses_origins_without_a_record(given: dict[str, Any]) -> None:
    pytest.importorskip("matplotlib")
    with find("lynx-hare", FOLDER).loaded() as program, pytest.raises(ValueError, match="191"):
        program.parameters(**given)


def test_mcem(short: Short) -> None:
    results = short("mcem", "seeds=1", "steps=150", "latents=2", "every=50", "rate=0.05", "leapfrogs=3")
    known, sampled, modes = results["closed form"], results["sampled"], results["modes"]
    assert sampled["gap"] < 0.2 * known["half of the free numbers"]
    assert abs(sampled["noise"]) < 0.01
    assert sampled["angle"] < 2
    assert modes["noise"] == pytest.approx(known["noise of modes"] / known["noise"] - 1, abs=0.002)
    assert modes["gap"] > 100 * sampled["gap"]  # without sampling, the same loop ends elsewhere


def test_mcems_closed_form_is_a_maximum() -> None:
    """No slope there, and lower everywhere around it."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    with find("mcem", FOLDER).loaded():
        script = sys.modules["mcem"]
        best, _ = script.closed_form(3)
        weights = [w.clone().requires_grad_() for w in best.weights]
        value = script.Model(*weights).loglikelihood()
        assert max(slope.abs().max() for slope in torch.autograd.grad(value, weights)) < 1e-8 * abs(value)
        rng = torch.Generator().manual_seed(0)
        for _ in range(20):
            near = [w + 0.01 * torch.randn(w.shape, generator=rng, dtype=w.dtype) for w in best.weights]
            assert script.Model(*near).loglikelihood() < value - 1


def test_ebm(short: Short) -> None:
    results = short("ebm", "steps=200", "every=50", "chains=50", "long=100")
    assert results["separation"]["noise"] > 0.99
    assert results["separation"]["scrambled"] > 0.99
    energy = results["free energy"]
    assert energy["held-out digits"] < energy["mixed"] < energy["scrambled"]
    assert abs(energy["chains, long after"] - energy["chains"]) < 10
    assert 0.3 < results["sampler"]["acceptance"] < 0.8


def test_bnn(short: Short) -> None:
    settings = ("chains=4", "warmup=20", "draws=8", "doublings=4", "steps=100", "every=50", "kept=20", "tests=100")
    results = short("bnn", *settings, "rate=0.05")
    for answer in ("point", "layer"):
        assert results["predictions"][answer]["accuracy"] > 0.85
        assert results["predictions"][answer]["log probability"] > -0.5
    assert results["predictions"]["all"]["log probability"] > math.log(0.5)
    looks = results["log evidence of features"]["looks"]
    assert looks[0][1] < looks[-1][1] <= results["log evidence of features"]["climbed on from there"]


def test_bnns_features_follow_the_slope_of_their_evidence() -> None:
    """The mean slope over draws of w is that of the sum over all w, and draws of the prior give that sum."""
    pytest.importorskip("matplotlib")
    with find("bnn", FOLDER).loaded() as program:
        script, p = sys.modules["bnn"], program.parameters()
        torch.manual_seed(0)
        rng = torch.Generator().manual_seed(0)
        x, y = script.boxes(2, rng)
        features, last = script.make_model()
        weights = trainables(features)
        w, rebuild = destructure(last)
        likelihood = lambda w: script.loglikelihood(rebuild(w)(features(x)), y)
        prior = torch.randn(20_000, 3, generator=rng, dtype=w.dtype) / p.precision**0.5
        values = vmap(likelihood)(prior).detach()
        value = script.evidence(features, x, y, p.precision)
        due = values.logsumexp(0) - math.log(len(values)) + script.logprior(weights, p.precision)
        assert value.item() == pytest.approx(due.item(), abs=0.1)
        logdensity = lambda w: likelihood(w) + script.logprior([w], p.precision)
        samples = draw(rng, hmc(logdensity, step_size=0.7, num_integration_steps=5), prior[:1000], 60)
        draws = samples.positions[:, 20:].reshape(-1, 3)
        sampled, one = (vmap(logdensity)(w).mean() for w in (draws, draws.mean(0, keepdim=True)))
        exact = slopes(value - script.logprior(weights, p.precision), weights)
        assert (slopes(sampled, weights) - exact).norm() < 0.02 * exact.norm()
        assert (slopes(one, weights) - exact).norm() > 0.1 * exact.norm()  # the mean of the draws won't do


def slopes(value: Tensor, weights: list[Tensor]) -> Tensor:
    return torch.cat([x.reshape(-1) for x in torch.autograd.grad(value, weights, retain_graph=True)])
