"""`solve`: batches whose samples go their own way, trees, failures, and bad input."""

import math

import pytest
import torch
from diffeq_problems import DTYPE, RATES, lotka_volterra, tensor, turning, van_der_pol

from torchflux_diffeq import (
    PID,
    RK4,
    Callback,
    Dopri8,
    Euler,
    Fixed,
    ImplicitEuler,
    Rodas5P,
    Rosenbrock23,
    SolveError,
    Status,
    Tsit5,
    per_sample,
    solve,
)

TS = torch.linspace(0.0, 5.0, 11, dtype=DTYPE)
Y = torch.stack([tensor(1.0, 0.8), tensor(0.6, 1.4), tensor(2.0, 0.3)])


def test_a_batch_is_its_samples():
    whole = solve(lotka_volterra, Y, TS, RATES, batched=True)
    assert whole.ys.shape == (11, 3, 2)
    for i in range(3):
        alone = solve(lotka_volterra, Y[i], TS, RATES)
        assert torch.allclose(whole.ys[:, i], alone.ys, rtol=1e-11)
        for name in ("steps", "accepted", "rejected", "evaluations", "wasted"):
            assert getattr(whole.stats, name)[i] == getattr(alone.stats, name)


def test_a_stiff_sample_costs_the_others_nothing():
    mu = torch.ones(16, dtype=DTYPE)
    mu[5] = 50.0
    y0 = tensor(2.0, 0.0).expand(16, 2)
    rows = []

    def f(t, y, mu):
        rows.append(len(y))
        return van_der_pol(t, y, mu)

    mixed = solve(f, y0, (0.0, 10.0), per_sample(mu), batched=True)
    easy = solve(van_der_pol, y0[0], (0.0, 10.0), 1.0)
    stiff = solve(van_der_pol, y0[0], (0.0, 10.0), 50.0)
    assert mixed.stats.evaluations[0] == easy.stats.evaluations
    assert mixed.stats.evaluations[5] == stiff.stats.evaluations > 3 * easy.stats.evaluations
    assert sum(rows) == mixed.stats.evaluations.sum()  # f is called with nobody who has ended
    assert rows[-1] == 1


def test_trees():
    def f(t, state, args):
        return {"place": state["speed"], "speed": (-state["place"][..., :1], -state["place"][..., 1:])[0].expand(3)}

    def g(t, state, args):
        x, (v, w) = state["x"], state["vw"]
        return {"x": v, "vw": [-x, w * 0.0 + 1.0]}

    state = {"x": tensor(1.0, 0.0), "vw": [tensor(0.0, 1.0), torch.zeros(2, 2, dtype=DTYPE)]}
    solution = solve(g, state, TS)
    assert torch.allclose(solution.ys["x"][:, 0], torch.cos(TS), atol=1e-5)
    assert solution.ys["vw"][1].shape == (11, 2, 2)
    assert torch.allclose(solution.ys["vw"][1][:, 0, 0], TS)
    many = {"x": Y, "vw": [Y, torch.zeros(3, 2, 2, dtype=DTYPE)]}
    assert solve(g, many, TS, batched=True).ys["vw"][1].shape == (11, 3, 2, 2)


def test_a_dict_in_another_order():
    f = lambda t, y, args: {"v": -y["x"], "x": y["v"]}
    dose = Callback((0.5,), lambda t, y, args: {"v": y["v"], "x": y["x"] + 1.0})
    ys = solve(f, {"x": tensor(1.0), "v": tensor(0.0)}, (0.0, 0.5), batched=False).ys
    assert torch.allclose(ys["x"][-1], torch.cos(tensor(0.5)), atol=1e-6)
    ys = solve(f, {"x": tensor(1.0), "v": tensor(0.0)}, (0.0, 1.0), callbacks=dose).ys
    assert torch.allclose(ys["x"][-1], torch.cos(tensor(1.0)) + torch.cos(tensor(0.5)), atol=1e-5)


def test_complex_states():
    ys = solve(lambda t, y, w: 1j * w * y, torch.ones(1, dtype=torch.complex128), TS, 2.0).ys
    assert torch.allclose(ys[:, 0], torch.exp(2j * TS), atol=1e-5)


def test_the_time_of_each_sample():
    seen = []

    def f(t, y, args):
        seen.append(t.shape)
        return turning(t[:, None], y, args) if t.dim() else turning(t, y, args)

    solve(f, Y[0], (0.0, 1.0))
    assert set(seen) == {()}
    seen.clear()
    solve(f, Y, (0.0, 1.0), batched=True)
    assert seen[0] == (3,)


def test_a_blow_up_is_a_status_and_the_others_go_on():
    y0 = tensor(1.0, -1.0, 0.5)[:, None]
    f = lambda t, y, args: y * y  # y = 1 / (1 / y0 - t)
    with pytest.raises(SolveError, match=r"samples 0, 2: stopped at t = 1, .*singularity"):
        solve(f, y0, (0.0, 3.0), batched=True)
    solution = solve(f, y0, (0.0, 3.0), batched=True, throw=False)
    assert solution.status[1] == Status.SUCCESS
    assert all(solution.status[i] in (Status.STALLED, Status.NOT_FINITE) for i in (0, 2))
    assert torch.allclose(solution.ys[-1, 1], tensor(-0.25), atol=1e-5)
    assert solution.ys[-1, [0, 2]].isnan().all()
    assert torch.allclose(solution.t[[0, 2]], tensor(1.0, 2.0), atol=1e-3)
    assert solution.y[[0, 2]].isfinite().all()


@pytest.mark.parametrize("solver", [Tsit5(), Dopri8(), Rosenbrock23(), Rodas5P(), ImplicitEuler()], ids=repr)
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_an_undefined_slope_is_noticed_at_once(solver, wrong):
    """At the start, of one sample of two; the other goes on."""
    y0, rate = tensor(1.0, 1.0)[:, None], per_sample(tensor(wrong, -1.0)[:, None])
    f = lambda t, y, rate: rate * y
    with pytest.raises(SolveError, match=r"samples 0: stopped at t = 0, after 1 steps; f gave NaN or inf there"):
        solve(f, y0, (0.0, 1.0), rate, batched=True, solver=solver)
    solution = solve(f, y0, (0.0, 1.0), rate, batched=True, solver=solver, throw=False)
    assert solution.status.tolist() == [Status.UNDEFINED, Status.SUCCESS]
    assert torch.equal(solution.y[0], y0[0])


@pytest.mark.parametrize("end", [0.0, 0.5])
def test_a_slope_that_becomes_undefined(end):
    """Steps come near; at the start, too, they don't go on and on until the smallest number that there is."""
    f = lambda t, y, args: torch.where(t <= end, -y, math.nan)
    solution = solve(f, tensor(1.0), (0.0, 1.0), throw=False)
    assert solution.status is Status.NOT_FINITE
    assert math.isclose(solution.t, end, rel_tol=1e-12)
    assert solution.stats.rejected < 100


def test_a_fixed_step_that_ends_where_the_slope_is_undefined():
    f = lambda t, y, args: torch.where(t < 0.5, 1.0 + 0 * y, math.nan)
    solution = solve(f, tensor(1.0), (0.0, 1.0), solver=Euler(), controller=Fixed(0.25), throw=False)
    assert solution.status is Status.UNDEFINED
    assert solution.t == 0.5
    assert solution.stats.steps == 3


def test_max_steps():
    solution = solve(lotka_volterra, Y[0], TS, RATES, max_steps=10, throw=False)
    assert solution.status is Status.MAX_STEPS
    assert solution.stats.steps == 10
    assert "max_steps" in solution.message
    assert 0.0 < solution.t < 5.0
    with pytest.raises(SolveError) as error:
        solve(lotka_volterra, Y[0], TS, RATES, max_steps=10)
    assert torch.equal(error.value.solution.y, solution.y)


def test_fixed_steps_end_at_the_end():
    solution = solve(turning, Y[0], (0.0, 1.0), solver=RK4(), controller=Fixed(0.3))
    assert solution.stats.steps == 4
    assert solution.t == 1.0


@pytest.mark.parametrize("start", [Y[0], Y[0].float(), torch.zeros(2)], ids=["float64", "float32", "zero"])
def test_nothing_moves_the_first_step(start):
    assert torch.equal(solve(lambda t, y, args: 0 * y, start, (0.0, 1e6)).ys[-1], start)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ts": (0.0, 2.0, 1.0)}, ValueError, r"ts\[1\] = 2 is followed by 1"),
        ({"ts": (0.0, 1.0, 1.0)}, ValueError, r"ts\[1\] = 1 is followed by 1"),
        ({"ts": (0.0, 0.0)}, ValueError, r"ts\[0\] = 0 is followed by 0"),
        ({"ts": (0.0,)}, ValueError, "the first and the last"),
        ({"ts": (0.0, float("nan"))}, ValueError, "NaN"),
        ({"y0": tensor(1.0, float("nan"))}, ValueError, "y0 has NaN"),
        ({"y0": {"a": tensor(1.0), "b": tensor(float("inf"))}}, ValueError, r"y0\['b'\] has NaN or inf"),
        ({"y0": torch.tensor([1, 2])}, TypeError, "int64"),
        ({"y0": (torch.ones(1), torch.ones(1, dtype=DTYPE))}, TypeError, "one dtype"),
        ({"y0": 1.0}, TypeError, "pass a tensor"),
        ({"y0": torch.tensor(1.0), "batched": True}, ValueError, "no axis for the samples"),
        ({"f": lambda t, y, args: y[:1]}, ValueError, r"shape \(1,\), its state \(2,\)"),
        ({"f": lambda t, y, args: y.float()}, TypeError, "float32"),
        ({"f": lambda t, y, args: (y, y)}, TypeError, "a tuple of 2"),
        ({"solver": Euler()}, ValueError, "Fixed"),
    ],
)
def test_bad_input(arguments, error, message):
    given = {"f": lambda t, y, args: -y, "y0": tensor(1.0, 2.0), "ts": (0.0, 1.0), **arguments}
    with pytest.raises(error, match=message):
        solve(**given)


def test_bad_options():
    with pytest.raises(ValueError, match="rtol"):
        PID(rtol=-1.0)
    with pytest.raises(ValueError, match="one of the tolerances"):
        PID(rtol=0.0, atol=0.0)
    with pytest.raises(ValueError, match="positive"):
        Fixed(0.0)
