"""The experiments with waves: a short version of each learns, and its reference satisfies the equation."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from torchflux_lab import find

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
Short = Callable[..., dict[str, Any]]
FOLDER = Path(__file__).parent.parent / "experiments"


def script(name: str) -> ModuleType:
    with find(name, FOLDER).loaded():
        return sys.modules[name]


def places(seed: int = 0) -> tuple[Tensor, Tensor]:
    """50 points of [0, 1] x [0, 1]."""
    unit = torch.rand(2, 50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return unit[0], unit[1]


def test_kdv(short: Short) -> None:
    """For a short time about the moment at which the solitons are one."""
    settings = ("time=0.3", "width=8", "points=150", "extra=50", "steps=50", "rounds=2", "iterations=60")
    results = short("kdv", *settings)
    adam, first, second = results["looks"].values()
    assert second == results["error"] < first < 0.7 * adam
    assert results["error"] < 0.03
    assert results["height when they are one"] == pytest.approx(1.5, rel=0.03)


def left_of_kdv(u: Any, x: Tensor, t: Tensor, h: float = 1e-2) -> Tensor:
    """u_t + 6 u u_x + u_xxx by central differences of the fourth order."""
    far, near = u(x + 2 * h, t) - u(x - 2 * h, t), u(x + h, t) - u(x - h, t)
    third = (13 * near - 8 * far + u(x + 3 * h, t) - u(x - 3 * h, t)) / (-8 * h**3)
    u_t = (8 * (u(x, t + h) - u(x, t - h)) - u(x, t + 2 * h) + u(x, t - 2 * h)) / (12 * h)
    return u_t + 6 * u(x, t) * (8 * near - far) / (12 * h) + third


def soliton(k: float, ahead: float, x: Tensor, t: Tensor) -> Tensor:
    return k**2 / 2 / torch.cosh(k * (x - k**2 * t - ahead) / 2) ** 2


def test_kdvs_solution_satisfies_the_equation_and_a_sum_of_solitons_does_not() -> None:
    u, (x, t) = script("kdv").exact, places()
    x, t = 10 * (x - 0.5), 2 * (t - 0.5)
    assert left_of_kdv(u, x, t).abs().max() < 1e-4
    both = lambda x, t: soliton(1, 0, x, t) + soliton(2, 0, x, t)
    assert left_of_kdv(lambda x, t: soliton(2, 0.3, x, t), x, t).abs().max() < 1e-4
    assert left_of_kdv(both, x, t).abs().max() > 1


def test_kdvs_solitons_are_each_displaced_as_published() -> None:
    """By (2/k) log((k₂+k₁)/(k₂-k₁)), the tall one ahead, the low one back (Hirota, 1971); their heights at the middle
    are subtracted."""
    u, log3 = script("kdv").exact, math.log(3)
    x = torch.linspace(-50, 50, 401, dtype=torch.float64)
    for t, sign in ((-6.0, -1), (6.0, 1)):
        t = torch.full_like(x, t)
        apart = soliton(2, sign * log3 / 2, x, t) + soliton(1, -sign * log3, x, t)
        assert (u(x, t) - apart).abs().max() < 1e-6
        wrong = soliton(2, 0, x, t) + soliton(1, 0, x, t)
        assert (u(x, t) - wrong).abs().max() > 0.1
    middle = torch.zeros(1, dtype=torch.float64)
    assert u(middle, middle).item() == pytest.approx(2 - 1 / 2)


def test_kdvs_crests_are_found_between_the_points() -> None:
    found, x = script("kdv"), torch.linspace(-15, 15, 301, dtype=torch.float64)
    u = soliton(2, 3.04, x, 0 * x) + soliton(1, -7.17, x, 0 * x)
    assert found.crests(x, u) == pytest.approx((3.04, -7.17), abs=2e-3)


def test_wave_1d(short: Short, tmp_path: Path) -> None:
    """It takes thousands of iterations until the error falls; that the loss does is seen after some."""
    ways = "ways=Adam with kernel weights,BFGS with gradient weights"
    settings = ("width=12", "points=100", "alone=2", "steps=30", "rounds=2", "iterations=60")
    results = short("wave-1d", ways, *settings)
    looks = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    _, adam, first, second = (look["loss"] for look in looks if look["of"] == "BFGS with gradient weights")
    assert second < first < 0.5 * adam
    for weights in results["weights"].values():
        assert weights["wave"] < 2
        assert weights["beginning"] > 1e3
    assert len((tmp_path / "ways.png").read_bytes()) > 10_000


def test_waves_solution_satisfies_the_equation_and_all_conditions() -> None:
    """It is the sum of two standing waves, sin πx cos 2πt + sin 4πx cos 8πt / 2; one that runs isn't at rest."""
    u, (x, t), h = script("wave-1d").exact, places(), 1e-3
    at = u(x, t)
    u_tt = (u(x, t + h) - 2 * at + u(x, t - h)) / h**2
    u_xx = (u(x + h, t) - 2 * at + u(x - h, t)) / h**2
    assert (u_tt - 4 * u_xx).abs().max() < 1e-3 * u_tt.abs().max()
    assert (u_tt - u_xx).abs().max() > 0.5 * u_tt.abs().max()
    pi = math.pi
    standing = torch.sin(pi * x) * torch.cos(2 * pi * t) + torch.sin(4 * pi * x) * torch.cos(8 * pi * t) / 2
    torch.testing.assert_close(at, standing)
    assert max(u(0 * t, t).abs().max(), u(1 + 0 * t, t).abs().max()) < 1e-14
    assert (u(x, 0 * t + h) - u(x, 0 * t - h)).abs().max() < 1e-14
    torch.testing.assert_close(u(x, 0 * t), torch.sin(pi * x) + torch.sin(4 * pi * x) / 2)


def test_waves_conditions_hold_in_an_output_into_which_they_are_built() -> None:
    with find("wave-1d", FOLDER).loaded() as program:
        wave = sys.modules["wave-1d"]
        model = wave.make_model(wave.WAYS["BFGS with conditions built in"], program.parameters())
        points = wave.make_points(wave.SOFT, program.parameters())
    conditions = {name: loss for name, loss in wave.SOFT(model, points).items() if name != "wave"}
    assert set(conditions) == {"ends", "beginning", "rest"}
    assert max(conditions.values()) < 1e-28
    free = wave.SOFT(model.model, points)
    assert min(free[name] for name in conditions) > 1e-4
