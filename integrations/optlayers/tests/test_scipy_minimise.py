"""Models trained by SciPy: optima, bounds, dtypes, and what is refused."""

import numpy as np
import pytest
import torch

import torchflux
from torchflux_optlayers import scipy_minimise

X = torch.linspace(-1, 1, 40)[:, None]
METHODS = (
    "L-BFGS-B", "BFGS", "CG", "Newton-CG", "trust-ncg", "trust-exact", "dogleg", "trust-krylov", "trust-constr",
    "SLSQP", "TNC", "Nelder-Mead", "Powell", "COBYLA", "COBYQA",
)  # fmt: skip


def line():
    torch.manual_seed(0)
    return torchflux.Dense(1, 1)


def off(model):
    return (model(X) - 3 * X - 1).square().mean()


@pytest.mark.parametrize("method", METHODS)
def test_a_line_is_found(method):
    model = line()
    result = scipy_minimise(off, model, method)
    assert model.weight.item() == pytest.approx(3.0, abs=1e-2)
    assert model.bias.item() == pytest.approx(1.0, abs=1e-2)
    assert model.weight.dtype == torch.float32
    assert result.loss == min(result.losses) == pytest.approx(off(model).item(), abs=1e-9)
    assert len(result.losses) == result.evaluations
    assert result.message


def test_a_network_learns_more_than_by_descent():
    torch.manual_seed(0)
    model = torchflux.Chain(torchflux.Dense(1, 8, torch.tanh), torchflux.Dense(8, 1))
    loss = lambda m: (m(X) - torch.sin(3 * X)).square().mean()
    before = loss(model).item()
    result = scipy_minimise(loss, model, max_steps=300)
    assert result.loss < 1e-4 < before
    assert result.steps <= 300
    assert all(p.grad is None for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("method", ["L-BFGS-B", "SLSQP", "Nelder-Mead", "trust-constr"])
def test_bounds_by_path_and_for_all(method):
    model = line()
    scipy_minimise(off, model, method, bounds={"weight": (None, 2.0)})
    assert model.weight.item() == pytest.approx(2.0, abs=1e-2)
    assert model.weight.item() <= 2.0 + 1e-6
    assert model.bias.item() == pytest.approx(1.0, abs=1e-2)
    tree = {"a": torch.zeros(2, dtype=torch.float64), "b": [torch.zeros(1)]}
    scipy_minimise(lambda t: (t["a"] - 3).square().sum() + (t["b"][0] + 3).square().sum(), tree, bounds=(-1.0, 1.0))
    assert tree["a"].tolist() == [1.0, 1.0]
    assert tree["b"][0].tolist() == [-1.0]
    assert not tree["a"].requires_grad


def test_bounds_as_a_tree():
    tree = {"a": torch.zeros(2), "b": [torch.zeros(1), torch.zeros(1)]}
    loss = lambda t: (t["a"] - 3).square().sum() + (t["b"][0] + 3).square().sum() + (t["b"][1] - 5).square().sum()
    scipy_minimise(loss, tree, bounds={"a": (None, 1.0), "b": [(-2.0, None), (None, None)]})
    assert (tree["a"].tolist(), tree["b"][0].item()) == ([1.0, 1.0], -2.0)
    assert tree["b"][1].item() == pytest.approx(5.0, abs=1e-3)


def test_bounds_for_a_part_and_by_tensor():
    torch.manual_seed(0)
    model = torchflux.Chain(torchflux.Dense(1, 2), torchflux.Dense(2, 1))
    low = torch.full((1, 2), -0.01)
    with torch.no_grad():
        model[1].weight.zero_(), model[1].bias.zero_()
    scipy_minimise(off, model, bounds={"1": (-0.02, 0.02), "1.weight": (low, None)}, max_steps=20)
    assert (model[1].weight >= low - 1e-9).all()
    assert model[1].bias.abs().item() <= 0.02 + 1e-6


def test_tied_and_frozen_parameters():
    model = line()
    torchflux.freeze(model.bias)
    before = model.bias.clone()
    scipy_minimise(off, model)
    assert torch.equal(model.bias, before)
    assert model.weight.item() == pytest.approx(3.0, abs=1e-2)


def test_the_best_point_is_kept_when_the_loss_breaks():
    """An error on the way, or a step that overflows, leaves the model at the best point so far."""
    model, calls = line(), []

    def loss(model):
        calls.append(off(model).item())
        if len(calls) == 4:
            raise KeyboardInterrupt
        return off(model)

    with pytest.raises(KeyboardInterrupt):
        scipy_minimise(loss, model, "CG")
    assert off(model).item() == pytest.approx(min(calls[:3]), rel=1e-6)


def test_float64_is_found_to_all_digits():
    model = line().double()
    x = X.double()
    result = scipy_minimise(lambda m: (m(x) - 3 * x - 1).square().mean(), model, "BFGS", tol=1e-12)
    np.testing.assert_allclose([model.weight.item(), model.bias.item()], [3.0, 1.0], atol=1e-10)
    assert result.loss < 1e-20


MISUSE = [
    (ValueError, "one of", lambda: scipy_minimise(off, line(), "Adam")),
    (ValueError, "takes no bounds", lambda: scipy_minimise(off, line(), "BFGS", bounds=(0, 1))),
    (ValueError, r"nothing is below \['wait'\]", lambda: scipy_minimise(off, line(), bounds={"wait": (0, 1)})),
    (ValueError, r"pass \(lower, upper\)", lambda: scipy_minimise(off, line(), bounds={"weight": 1.0})),
    (ValueError, "outside", lambda: scipy_minimise(off, line(), bounds=(5.0, 6.0))),
    (ValueError, r"is \(3,\)", lambda: scipy_minimise(off, line(), bounds={"weight": (torch.ones(3), None)})),
    (ValueError, "nan at the start", lambda: scipy_minimise(lambda m: off(m) / 0 * 0, line())),
    (ValueError, "nothing in tuple trains", lambda: scipy_minimise(lambda m: 0, (1, 2))),
    (TypeError, "one real number", lambda: scipy_minimise(lambda m: m(X), line())),
    (TypeError, "doesn't depend", lambda: scipy_minimise(lambda m: torch.tensor(m.weight.item()), line())),
    (TypeError, "complex", lambda: scipy_minimise(lambda m: m[0].abs(), (torch.ones(1, dtype=torch.complex64),))),
    (Warning, "Unknown solver options", lambda: scipy_minimise(off, line(), options={"speed": 9})),
]


@pytest.mark.parametrize(("kind", "words", "call"), MISUSE, ids=lambda x: str(x)[:20])
def test_misuse_is_explained(kind, words, call):
    with pytest.raises(kind, match=words):
        call()
