"""Stochastic equations: orders, paths and their law, batches, and what is refused."""

import pytest
import torch
from diffeq_problems import DTYPE, tensor
from sde_problems import SAMPLES, A, B, grown, growth, ones, reverted, reverting, slope, tree
from torch import view_as_real as view_real

from torchflux_diffeq import (
    SDE,
    BrownianTree,
    EulerMaruyama,
    Fixed,
    Milstein,
    Status,
    StochasticHeun,
    StochasticSolver,
    StratonovichMilstein,
    per_sample,
    solve,
)

SOLVERS = [EulerMaruyama(), Milstein(), StratonovichMilstein(), StochasticHeun()]
DTS = [2.0**-k for k in (4, 5, 6, 7)]


def end(sde, solver, dt, path=None, y0=None, ts=(0.0, 1.0), **options):
    y0 = ones() if y0 is None else y0
    options = {"solver": solver, "controller": Fixed(dt), "batched": True, "generator": path or tree(), **options}
    return solve(sde, y0, ts, **options).ys[-1]


def strong(sde, solver, due, dts=DTS, **options):
    """The order at which the mean distance of the paths' ends falls."""
    return slope(dts, [(end(sde, solver, dt, **options) - due).abs().mean() for dt in dts])


@pytest.mark.parametrize(("solver", "order"), [*zip(SOLVERS, [0.5, 1.0, 1.0, 1.0], strict=True)], ids=repr)
@pytest.mark.parametrize("noise", ["diagonal", "scalar"])
def test_strong_order(solver, order, noise):
    due = grown(ones(), 1.0, tree()([1.0], SAMPLES)[0], solver.calculus)
    assert abs(strong(growth(solver.calculus, noise), solver, due) - order) < 0.15


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_the_other_calculus_is_another_equation(solver):
    """The canary: what converges to Itô's solution doesn't converge to Stratonovich's, and the other way round."""
    other = "stratonovich" if solver.calculus == "ito" else "ito"
    due = grown(ones(), 1.0, tree()([1.0], SAMPLES)[0], other)
    assert abs(strong(growth(solver.calculus), solver, due)) < 0.15


def test_another_path_is_another_solution():
    due = grown(ones(), 1.0, tree(seed=6)([1.0], SAMPLES)[0])
    assert abs(strong(growth(), Milstein(), due)) < 0.1


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_strong_order_for_additive_noise(solver):
    due = reverted(tree(), SAMPLES)[:, None]
    assert 0.85 < strong(reverting(solver.calculus), solver, due, y0=0.2 * ones()) < 1.3


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_weak_order(solver):
    """Of the mean, by the mean difference from the solution on the same paths, which has less chance in it."""
    n, dts = 20_000, [1 / 4, 1 / 8, 1 / 16]
    due = grown(ones(n), 1.0, tree()([1.0], n)[0], solver.calculus)
    ends = [end(growth(solver.calculus), solver, dt, y0=ones(n)) for dt in dts]
    assert 0.75 < slope(dts, [(y - due).mean().abs() for y in ends]) < 1.6
    other = due * torch.exp(tensor(B * B / 2 if solver.calculus == "ito" else -B * B / 2))
    assert slope(dts, [(y - other).mean().abs() for y in ends]) < 0.5  # the canary: the other calculus' mean


def test_moments():
    """Of Ornstein and Uhlenbeck's process, in law: the noise is drawn from a generator."""
    n = 4000
    y = end(reverting(), EulerMaruyama(), 0.01, torch.Generator().manual_seed(3), 0.2 * ones(n))
    decay = torch.exp(tensor(-1.5))
    assert abs(y.mean() - (0.7 - 0.5 * decay)) < 4 * 0.21 / n**0.5 + 2e-3
    assert abs(y.var() / (0.16 / 3 * (1 - decay**2)) - 1) < 4 * (2 / n) ** 0.5 + 0.02


def turning(t, y, args):
    """Two numbers that one motion turns: without commuting, the diagonal formula would be wrong."""
    return 0.9 * torch.stack((-y[..., 1], y[..., 0]), -1)


@pytest.mark.parametrize("solver", SOLVERS[1:], ids=repr)
def test_one_motion_that_mixes_the_numbers(solver):
    """dy = J y dW turns by 0.9 W, and Itô's lengthens as well: (Kloeden & Platen, 1992, 4.4)."""
    angle = 0.9 * tree()([1.0], SAMPLES)[0, :, 0]
    due = torch.stack((torch.cos(angle), torch.sin(angle)), -1)
    if solver.calculus == "ito":
        due = due * torch.exp(tensor(0.81 / 2))
    sde = SDE(lambda t, y, args: 0 * y, turning, "scalar", solver.calculus)
    y0 = torch.tensor([1.0, 0.0], dtype=DTYPE).expand(SAMPLES, 2)
    assert 0.85 < strong(sde, solver, due, y0=y0) < 1.3


MATRIX = torch.tensor([[0.5, 0.2, 0.0], [-0.3, 0.1, 0.4]], dtype=DTYPE)


def test_general_noise():
    """Two numbers that grow with three motions: ln y is linear in them."""
    sde = SDE(lambda t, y, args: A * y, lambda t, y, args: y[..., None] * MATRIX, "general", "stratonovich")
    due = torch.exp(A + tree()([1.0], SAMPLES, 3)[0] @ MATRIX.T)
    assert abs(strong(sde, StochasticHeun(), due, y0=ones(n=2)) - 1) < 0.15
    ito = SDE(sde.drift, sde.diffusion, "general")
    due = due * torch.exp(-0.5 * (MATRIX**2).sum(1))
    assert abs(strong(ito, EulerMaruyama(), due, y0=ones(n=2)) - 0.5) < 0.15


def by_hand(y, path, dt, g, product):
    """Euler and Maruyama's method, as one would write it."""
    w = path(torch.arange(round(1 / dt) + 1) * dt, len(y), g(0.0, y, None)[0].shape[-1])
    for k in range(round(1 / dt)):
        y = y - torch.sin(y) * dt + product(g(k * dt, y, None), w[k + 1] - w[k])
    return y


def test_it_is_what_one_writes_by_hand():
    y0 = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    drift = lambda t, y, args: -torch.sin(y)
    diagonal = lambda t, y, args: torch.cos(y)
    general = lambda t, y, args: torch.cos(y)[..., None] * MATRIX
    for noise, g, product in (
        ("diagonal", diagonal, torch.mul),
        ("general", general, lambda g, dw: torch.einsum("bnw,bw->bn", g, dw)),
    ):
        due = by_hand(y0, tree(), 0.125, g, product)
        assert torch.allclose(end(SDE(drift, g, noise), EulerMaruyama(), 0.125, y0=y0), due, rtol=1e-13)


def test_times_between_the_steps():
    """States between the steps converge like those at their ends, and asking for them changes nothing."""
    ts = torch.tensor([0.0, 0.011, 0.3, 0.309, 0.77, 1.0], dtype=DTYPE)
    for solver, order in zip(SOLVERS, (0.5, 1.0, 1.0, 1.0), strict=True):
        due = grown(ones(), ts[:, None, None], tree(levels=20)(ts, SAMPLES), solver.calculus)
        errors = []
        for dt in DTS:
            options = {"solver": solver, "controller": Fixed(dt), "batched": True, "generator": tree(levels=20)}
            ys = solve(growth(solver.calculus), ones(), ts, **options).ys
            errors.append((ys - due).abs().mean((1, 2))[1:-1])
            assert torch.equal(ys[-1], end(growth(solver.calculus), solver, dt, tree(levels=20)))
        assert abs(slope(DTS, [x.mean() for x in errors]) - order) < 0.2


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_path_is_the_motion_itself(batched, dtype):
    """Also between the steps, where a line would be far off (the canary); the last one is shorter."""
    ts = torch.linspace(0.0, 1.0, 31, dtype=dtype)
    path, y0 = BrownianTree(4, 0.0, 2.0), torch.zeros(*([5] if batched else []), 2, dtype=dtype)
    sde = SDE(lambda t, y, args: 0 * y, lambda t, y, args: torch.ones_like(y))
    ys = solve(sde, y0, ts, controller=Fixed(0.17), generator=path, batched=batched).ys
    due = path(ts, 5 if batched else 1, 2).reshape(ys.shape)
    assert ys.dtype == dtype
    assert (ys - due).abs().max() < (1e-14 if dtype == torch.float64 else 1e-6)
    line = due[0] + ts.reshape(-1, *[1] * (ys.dim() - 1)) * (due[-1] - due[0])
    assert (ys - line).abs().max() > 0.1


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_batches(solver):
    """A sample's path is its index's, whoever else is there; a sample that fails changes nothing for the others."""
    y0 = torch.linspace(0.5, 2.0, 7, dtype=DTYPE)[:, None].expand(7, 2)
    rate = torch.linspace(0.1, 0.7, 7, dtype=DTYPE)
    drift = lambda t, y, args: torch.where(y > 100, 1e200 * y * y, args * y)
    sde = SDE(lambda t, y, r: drift(t, y, r[:, None]), lambda t, y, r: torch.cos(y), calculus=solver.calculus)
    ts = (0.0, 0.31, 1.0)

    def solution(y0, n):
        options = {"solver": solver, "controller": Fixed(0.1), "generator": tree(levels=20), "throw": False}
        return solve(sde, y0[:n], ts, per_sample(rate[:n]), batched=True, **options)

    whole = solution(y0, 7)
    assert torch.allclose(solution(y0, 3).ys, whole.ys[:, :3], rtol=1e-13)
    spoilt = y0.clone()
    spoilt[1] = 1000.0
    found = solution(spoilt, 7)
    others = [0, 2, 3, 4, 5, 6]
    assert found.status[1] in (Status.NOT_FINITE, Status.UNDEFINED)
    assert torch.allclose(found.ys[:, others], whole.ys[:, others], rtol=1e-13)


def test_trees_of_state():
    def drift(t, y, args):
        return {"a": -y["a"], "b": (y["b"][0] * 0,)}

    def diffusion(t, y, args):
        return {"a": 0.3 * y["a"], "b": (torch.ones_like(y["b"][0]),)}

    y0 = {"a": ones(4, 2), "b": (torch.zeros(4, 3, 2, dtype=DTYPE),)}
    path = tree(levels=20)
    for noise, motions in (("diagonal", 8), ("scalar", 1)):
        options = {"controller": Fixed(0.05), "batched": True, "generator": path}
        ys = solve(SDE(drift, diffusion, noise), y0, (0.0, 0.37, 1.0), solver=Milstein(), **options).ys
        assert ys["a"].shape == (3, 4, 2)
        due = path([0.37, 1.0], 4, motions)[..., -6:]
        assert torch.allclose(ys["b"][0][1:].reshape(2, 4, 6), due.expand(2, 4, 6), rtol=1e-12)


@pytest.mark.parametrize("solver", [Milstein(), StratonovichMilstein()], ids=repr)
def test_complex_states(solver):
    """One motion turns a complex number: a diffusion that is no holomorphic function, the same with real numbers."""
    y0 = torch.tensor([[1.0 + 0.5j]], dtype=torch.complex128).expand(5, 1)
    options = {"solver": solver, "y0": y0, "path": tree(levels=20)}
    complex_ = SDE(lambda t, y, args: -y, lambda t, y, args: 1j * y * y.abs(), calculus=solver.calculus)
    real = SDE(lambda t, y, args: -y, lambda t, y, args: y.norm(dim=-1)[:, None] * turning(t, y, args) / 0.9, "scalar")
    due = end(
        SDE(real.drift, real.diffusion, "scalar", solver.calculus), dt=0.1, **options | {"y0": view_real(y0[:, 0])}
    )
    assert torch.allclose(view_real(end(complex_, dt=0.1, **options)[:, 0]), due, rtol=1e-12)


def test_generators():
    y0 = ones(3)
    generator = torch.Generator().manual_seed(1)
    first, second = (end(growth(), EulerMaruyama(), 0.1, generator, y0) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(end(growth(), EulerMaruyama(), 0.1, generator.manual_seed(1), y0), first)
    state = torch.random.get_rng_state()
    end(growth(), EulerMaruyama(), 0.1, generator, y0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_halved_steps_keep_the_path_that_was_drawn():
    sde = SDE(lambda t, y, args: 0 * y, lambda t, y, args: torch.ones_like(y))
    ys = [end(sde, EulerMaruyama(), dt, torch.Generator().manual_seed(1)) for dt in (0.1, 0.05, 0.0125)]
    assert torch.allclose(ys[0], ys[1], atol=1e-12)
    assert torch.allclose(ys[0], ys[2], atol=1e-12)


def test_a_method_of_ones_own():
    class Drifting(StochasticSolver):
        calculus = "ito"

        def advance(self, slope, t, dt, y, k):
            return y + dt[:, None] * k

    y = end(growth(), Drifting(), 1 / 64)
    assert torch.allclose(y, ones() * (1 + A / 64) ** 64)


def test_what_it_costs():
    calls = []
    sde = SDE(lambda t, y, args: calls.append(0) or -y, lambda t, y, args: calls.append(1) or y)
    for solver, drifts, diffusions in ((EulerMaruyama(), 11, 10), (Milstein(), 11, 14)):
        calls.clear()
        options = {"controller": Fixed(0.1), "generator": tree(levels=20)}
        stats = solve(sde, tensor(1.0), (0.0, 1.0), solver=solver, **options).stats
        assert stats.steps == 10
        assert stats.evaluations == calls.count(0) == drifts
        assert calls.count(1) == diffusions
