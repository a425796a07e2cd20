"""The native route: the same steps, statistics and states as PyTorch's, and the same gradients.

Most of these run the generated text as Python; compiling it takes longer, so that is done for a sample of everything.
"""

import copy
import math
import os
import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffeq_problems import DTYPE, RATES, tensor
from torch.func import grad, jacrev, jvp, vmap

from torchflux_diffeq import (
    PID,
    RK4,
    Bosh3,
    Discrete,
    Dopri5,
    Euler,
    Fixed,
    Heun,
    Midpoint,
    NotNative,
    SolveError,
    Status,
    Tsit5,
    _native_route,
    _native_sweep,
    native_source,
    per_sample,
    solve,
)

pytest.importorskip("torchflux_zygote")
from torchflux_zygote import native
from torchflux_zygote._native import _compile, _runtime

FINE = PID(rtol=1e-6, atol=1e-8)
DOUBLES = np.array([1.0, 2.0])
TIMES = torch.linspace(0.0, 3.0, 9, dtype=DTYPE)


def interpret(text, name):
    """Stands in for the compiler: the text as plain Python, by NumPy's rules for division."""
    plain = lambda f=None, *args, **kwargs: f if callable(f) else plain
    runtime = types.SimpleNamespace(**{k: getattr(x, "py_func", x) for k, x in vars(_runtime).items()})
    space = {"math": math, "np": np, "rt": runtime, "numba": types.SimpleNamespace(njit=plain)}
    exec(compile(text, f"plain {name}", "exec"), space)

    def run(*args):
        with np.errstate(all="ignore"):
            return space[name](*args)

    return run


@pytest.fixture
def plain(monkeypatch):
    """Runs generated text as Python."""
    monkeypatch.setattr(_compile, "compiled", interpret)


def predators(t, y, p):
    x, z = y
    return p[0] * x - p[1] * x * z, -p[2] * z + p[3] * x * z


def predators_array(t, y, p):
    return np.array([p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]])


def turning(t, y, rate):
    return -(1.0 + rate * t) * y[1], (1.0 + rate * t) * y[0]


def heat(t, y, args):
    rate, source = args
    k = np.zeros(len(y))
    for i in range(len(y)):
        left = y[i - 1] if i > 0 else 0.0
        right = y[i + 1] if i < len(y) - 1 else 0.0
        k[i] = rate * (left - 2.0 * y[i] + right) + source[i] * math.sin(t)
    return k


def linear(t, y, matrix):
    return matrix @ y


def decay(t, y, rate):
    return -rate * y * y


def blowing_up(t, y, args):
    return np.array([y[0] * y[0]])


def defined_at_the_start(t, y, args):
    return np.array([y[0] * np.where(t > 0.0, np.nan, 1.0)])


def fresh(f):
    """A native function of its own, with programs of its own."""
    return native(types.FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__))


def leaf(*values):
    return tensor(*values).requires_grad_()


def total(solution):
    weights = torch.linspace(0.5, 1.5, solution.ys.numel(), dtype=solution.ys.dtype).view_as(solution.ys)
    return (solution.ys * solution.ys * weights).nansum() + solution.y.square().sum()


def same_solution(found, expected, tolerance=1e-11):
    torch.testing.assert_close(found.ys, expected.ys, rtol=tolerance, atol=tolerance, equal_nan=True)
    torch.testing.assert_close(found.y, expected.y, rtol=tolerance, atol=tolerance)
    for name in ("steps", "accepted", "rejected", "evaluations", "wasted", "jacobians"):
        a, b = (torch.as_tensor(getattr(x.stats, name)) for x in (found, expected))
        assert torch.equal(a, b), name
    assert torch.equal(torch.as_tensor(found.status), torch.as_tensor(expected.status))
    assert found.message == expected.message
    torch.testing.assert_close(torch.as_tensor(found.t), torch.as_tensor(expected.t), rtol=tolerance, atol=tolerance)
    assert torch.equal(found.ts, expected.ts)


def compared(f, y0, ts, args, wrt, tolerance=1e-10, steps=1e-11, **options):
    """Both routes, and their gradients."""
    solutions = [solve(f, y0, ts, args, route=route, **options) for route in ("native", "torch")]
    assert [s.route for s in solutions] == ["native", "torch"]
    same_solution(*solutions, tolerance=steps)
    found, expected = (torch.autograd.grad(total(s), wrt) for s in solutions)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()))
    return solutions[0]


@pytest.mark.parametrize(
    ("solver", "controller"),
    [
        (Tsit5(), FINE),
        (Dopri5(), PID(rtol=1e-7, atol=1e-7, pcoeff=0.3, icoeff=0.4)),
        (Bosh3(), PID(rtol=1e-4, atol=1e-6, pcoeff=0.1, icoeff=0.3, dcoeff=0.1, dtmax=0.2)),
        (Heun(), PID(rtol=1e-3, atol=1e-4)),
        (Midpoint(), PID(rtol=1e-3, atol=1e-4, factor_max=2.0)),
        (RK4(), Fixed(0.07)),
        (Euler(), Fixed(0.05)),
        (Tsit5(), Fixed(0.4)),
    ],
)
def test_methods(solver, controller, plain):
    y0, p = leaf(0.7, 1.2), leaf(*RATES)
    compared(fresh(predators), y0, TIMES, p, (y0, p), solver=solver, controller=controller)


@pytest.mark.parametrize("f", [predators, predators_array])
def test_time_that_runs_backward(f, plain):
    y0, p = leaf(0.7, 1.2), leaf(*RATES)
    compared(fresh(f), y0, TIMES.flip(0), p, (y0, p), controller=FINE)
    compared(fresh(turning), y0, -2.0 * TIMES, 0.5, (y0,), controller=FINE, dt0=0.1)


def test_a_state_of_one_number_and_of_no_axis(plain):
    for y0 in (leaf(0.8), torch.tensor(0.8, dtype=DTYPE, requires_grad=True)):
        rate = torch.tensor(1.3, dtype=DTYPE, requires_grad=True)
        f = fresh(decay) if y0.dim() == 0 else native(lambda t, y, rate: [-rate * y[0] * y[0]])
        solution = compared(f, y0, TIMES, rate, (y0, rate), controller=FINE)
        expected = 0.8 / (1.0 + 0.8 * 1.3 * TIMES)
        torch.testing.assert_close(solution.ys.reshape(-1), expected, rtol=1e-5, atol=1e-6)


def test_arrays_of_many_numbers(plain):
    n = 11
    y0 = torch.linspace(0.0, 1.0, n, dtype=DTYPE).sin().requires_grad_()
    rate, source = torch.tensor(0.6, dtype=DTYPE, requires_grad=True), torch.rand(n + 10, dtype=DTYPE).requires_grad_()
    compared(fresh(heat), y0, TIMES[:4], (rate, source), (y0, rate, source), controller=FINE)


def test_matrices(plain):
    for n in (3, 12):
        generator = torch.Generator().manual_seed(n)
        matrix = torch.randn(n, n, dtype=DTYPE, generator=generator).requires_grad_()
        y0 = torch.randn(n, dtype=DTYPE, generator=generator).requires_grad_()
        for ts in (TIMES[:3], -TIMES[:3]):
            compared(fresh(linear), y0, ts, matrix.mT, (y0, matrix), controller=PID(1e-3, 1e-4), solver=Bosh3())


def test_args_of_any_form(plain):
    a, b = leaf(0.5, 0.2), torch.tensor(0.3, dtype=DTYPE, requires_grad=True)

    @native
    def f(t, y, args):
        (first, second), scale, power, flag, _, table = args
        k = scale * first[0] * y[0] ** power + second * table[1]
        return (-k if flag else k), first[1] * y[0]

    y0 = leaf(1.0, 0.5)
    table = np.array([1.0, 2.0])
    compared(f, y0, TIMES, [[a, b], 0.5, 2, True, None, table], (y0, a, b), controller=FINE)


def test_a_batch_is_a_loop(plain):
    samples = 21  # more than one block
    generator = torch.Generator().manual_seed(0)
    y0 = (torch.rand(samples, 2, dtype=DTYPE, generator=generator) + 0.5).requires_grad_()
    p = (torch.rand(samples, 4, dtype=DTYPE, generator=generator) + 0.7).requires_grad_()
    f = fresh(predators)
    compared(f, y0, TIMES[:5], per_sample(p), (y0, p), controller=FINE, batched=True)
    for i in (0, 15, 16, 20):
        one = solve(f, y0[i], TIMES, p[i], controller=FINE, route="native")
        rows = solve(f, y0, TIMES, per_sample(p), controller=FINE, batched=True)
        assert torch.equal(one.ys, rows.ys[:, i])
        assert one.stats.steps == rows.stats.steps[i]
        found, expected = (torch.autograd.grad(s.square().sum(), p)[0][i] for s in (one.ys, rows.ys[:, i]))
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_what_the_samples_share(plain):
    y0 = (torch.rand(37, 2, dtype=DTYPE, generator=torch.Generator().manual_seed(1)) + 0.5).requires_grad_()
    p, mu = leaf(*RATES), leaf(*torch.linspace(0.5, 1.5, 37).tolist())
    f = native(lambda t, y, args: (args[1] * y[0] - args[0][1] * y[0] * y[1], -args[0][2] * y[1] + y[0] * y[1]))
    compared(f, y0, TIMES[:4], (p, per_sample(mu)), (y0, p, mu), controller=FINE, batched=True)


def test_gradients_do_not_depend_on_the_threads(plain, monkeypatch):
    monkeypatch.setattr("torchflux_diffeq._native_operation.WORTH_THREADS", 0.0)
    y0 = torch.rand(70, 2, dtype=DTYPE, generator=torch.Generator().manual_seed(1)) + 0.5
    p, f, threads = leaf(*RATES), fresh(predators), torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            solution = solve(f, y0, TIMES, p, controller=FINE, batched=True)
            found.append((solution.ys, *torch.autograd.grad(total(solution), p)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_finite_differences(plain):
    """Of the same steps: only with fixed ones is the computed function smooth."""
    f, p, y0 = fresh(predators), tensor(*RATES), tensor(0.7, 1.2)
    run = lambda y0, p: total(solve(f, y0, TIMES, p, controller=Fixed(0.3), route="native"))
    assert torch.autograd.gradcheck(run, (y0.requires_grad_(), p.requires_grad_()), eps=1e-6, rtol=1e-6)


def test_times_that_change_before_the_gradient(plain):
    y0, p, ts = tensor(0.7, 1.2), leaf(*RATES), TIMES[:4].clone()
    run = lambda ts: solve(f, y0, ts, p, controller=FINE, route="native")
    f = fresh(predators)
    (expected,), found = torch.autograd.grad(total(run(TIMES[:4])), p), total(run(ts))
    ts.mul_(2.0)
    assert torch.equal(torch.autograd.grad(found, p, retain_graph=True)[0], expected)
    (again,) = torch.autograd.grad(found, p, create_graph=True)
    torch.testing.assert_close(again.detach(), expected, rtol=1e-9, atol=1e-9)


def test_arrays_that_change_before_the_gradient(plain):
    """NumPy's arrays, captured or arguments, don't tell PyTorch that they have changed."""
    p, y0, weights = leaf(0.5), tensor(1.0, 1.0), np.array([1.0, 2.0])
    captured = native(lambda t, y, args: (-args[0] * y[0] * weights[0], -args[0] * y[1] * weights[1]))
    given = native(lambda t, y, args: (-args[0][0] * y[0] * args[1][0], -args[0][0] * y[1] * args[1][1]))
    for f, args in ((captured, p), (given, (p, weights))):
        weights[:] = 1.0, 2.0
        end = solve(f, y0, (0.0, 1.0), args, controller=FINE, route="native").ys[-1].sum()
        weights[:] = 5.0, 7.0
        (found,) = torch.autograd.grad(end, p)
        assert found.item() == pytest.approx(-math.exp(-0.5) - 2.0 * math.exp(-1.0), rel=1e-5)


@pytest.mark.parametrize("batched", [False, True])
def test_statistics_that_are_made_when_they_are_asked_for(batched, plain):
    """They outlive the tape, can be copied, and nothing done to them reaches the gradient."""
    y0, p, f = tensor([0.7, 1.2], [1.0, 1.0]) if batched else tensor(0.7, 1.2), leaf(*RATES), fresh(predators)
    run = lambda route: solve(f, y0, TIMES[:4], p, controller=FINE, batched=batched, route=route)
    found, expected = run("native"), run("torch")
    gradient = torch.autograd.grad(total(run("native")), p)[0]
    assert str(found.stats) == str(expected.stats)
    torch.testing.assert_close(found.t, expected.t, rtol=0, atol=0)
    if batched:
        found.stats.steps.zero_()
        found.status.fill_(int(Status.STALLED))
    assert torch.equal(torch.autograd.grad(total(found), p)[0], gradient)
    with torch.no_grad():
        other = copy.deepcopy(run("native"))
    assert str(replace(other, message="again").stats) == str(expected.stats)


def test_arguments_of_another_kind_are_another_program(plain):
    """And those of another length are not."""
    f = native(lambda t, y, a: (-a[0] * y[0] * len(a),))
    ends = [
        solve(f, tensor(1.0), (0.0, 1.0), args, controller=FINE, route="native").ys[-1].item()
        for args in (tensor(0.5), tensor(0.5, 9.0), torch.tensor([1, 7]), tensor(0.5), torch.full((17,), 0.1).double())
    ]
    assert ends == pytest.approx([math.exp(-x) for x in (0.5, 1.0, 2.0, 0.5, 1.7)], rel=1e-5)
    before = sum(map(len, _native_route._programs.values()))
    solve(f, tensor(1.0), (0.0, 1.0), torch.full((18,), 0.1).double(), controller=FINE, route="native")
    assert sum(map(len, _native_route._programs.values())) == before


def test_a_wrong_sweep_is_found(plain, monkeypatch):
    """The canary: without the share of one stage, the gradient differs."""
    right = _native_sweep._stage_back
    wrong = lambda tableau, code, number: right(tableau, code, number)[: -1 if number == 3 else None]
    monkeypatch.setattr(_native_sweep, "_stage_back", wrong)
    y0, p = leaf(0.7, 1.2), leaf(*RATES)
    with pytest.raises(AssertionError, match="not close"):
        compared(fresh(predators), y0, TIMES, p, (y0, p), controller=FINE)


# Failures.


@pytest.mark.parametrize(
    ("y0", "status", "options"),
    [
        ([1.0], {Status.STALLED, Status.NOT_FINITE}, {}),
        ([1.0], {Status.MAX_STEPS}, {"max_steps": 7}),
        ([1.0], {Status.NOT_FINITE}, {"controller": Fixed(0.3)}),
        ([0.5, 1.0, 0.1], {Status.SUCCESS, Status.STALLED, Status.NOT_FINITE}, {}),
    ],
)
def test_failures(y0, status, options, plain):
    batched = len(y0) > 1
    y = tensor(*y0)[:, None] if batched else tensor(*y0)
    y.requires_grad_()
    options = {"controller": FINE, "throw": False, "batched": batched, **options}
    f = fresh(blowing_up)
    found = compared(f, y, TIMES[:6], None, (y,), tolerance=1e-6, steps=1e-8, **options)  # near the singularity
    assert {int(s) for s in torch.as_tensor(found.status).reshape(-1)} <= {int(s) for s in status}
    assert torch.as_tensor(found.status).any()
    with pytest.raises(SolveError, match="stopped at t"):
        solve(f, y, TIMES[:6], route="native", **{**options, "throw": True})


def test_an_undefined_slope_is_noticed_at_once(plain):
    """By both routes, after as many steps."""
    for controller in (PID(), Fixed(0.25)):
        y0, rates = leaf(0.7, 1.2), tensor(math.nan, 1.0, 3.0, 1.0)
        found = compared(fresh(predators), y0, TIMES[:6], rates, (y0,), controller=controller, throw=False)
        assert found.status is Status.UNDEFINED
        assert found.stats.steps == 1
    y0 = leaf(1.0)
    found = compared(fresh(defined_at_the_start), y0, TIMES[:6], None, (y0,), throw=False)
    assert found.status is Status.NOT_FINITE
    assert found.stats.steps < 100


def test_bad_input_has_the_same_errors(plain):
    f = fresh(predators)
    for y0, ts in (((0.7, math.nan), (0.0, 1.0)), ((0.7, 1.2), (0.0, 1.0, 1.0)), ((0.7, 1.2), (0.0, 2.0, 1.0)),
                   ((0.7, 1.2), (0.0, 1.0, math.inf))):  # fmt: skip
        said = []
        for route in ("native", "torch"):
            with pytest.raises(ValueError, match=r"NaN|followed") as error:
                solve(f, tensor(*y0), tensor(*ts), tensor(*RATES), route=route)
            said.append(str(error.value))
        assert said[0] == said[1]
    with pytest.raises(ValueError, match="at least the first"):
        solve(f, tensor(0.7, 1.2), (0.0,), tensor(*RATES))
    with pytest.raises(ValueError, match="error estimate"):
        solve(f, tensor(0.7, 1.2), (0.0, 1.0), tensor(*RATES), solver=RK4())


def test_slopes_of_another_size_or_type(plain):
    with pytest.raises(NotNative, match="a tuple of 3 for a state of 2"):
        solve(native(lambda t, y, a: (y[0], y[1], 0.0)), tensor(1.0, 2.0), (0.0, 1.0), route="native")
    with pytest.raises(ValueError, match="another length"):
        solve(native(lambda t, y, a: np.array([1.0, 2.0, 3.0])), tensor(1.0, 2.0), (0.0, 1.0), route="native")
    with pytest.raises(ValueError, match="another length"):
        solve(native(lambda t, y, a: y[1:]), torch.ones(12, dtype=DTYPE), (0.0, 1.0), route="native")
    with pytest.raises(TypeError, match=r"float64, its state torch\.float32"):
        solve(native(lambda t, y, a: y * DOUBLES), torch.ones(2), (0.0, 1.0), route="native")


# The choice.


def test_routes(plain):
    f, y0, p = fresh(predators), tensor(0.7, 1.2), tensor(*RATES)
    plain_f = lambda t, y, p: torch.stack((p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]))
    assert solve(f, y0, TIMES, p).route == "native"
    assert solve(f, y0, TIMES, p, route="torch").route == "torch"
    assert solve(plain_f, y0, TIMES, p).route == "torch"
    with pytest.raises(ValueError, match="'auto', 'native' or 'torch'"):
        solve(f, y0, TIMES, p, route="fast")


def test_what_the_native_route_can_not_do_goes_by_torch(plain):
    f, y0, p = fresh(predators), tensor(0.7, 1.2), tensor(*RATES)
    tree = native(lambda t, y, a: y)
    cases = [
        (lambda t, y, a: y, y0, TIMES, None, {}, "decorate it"),
        (f, y0, TIMES.clone().requires_grad_(), p, {}, "ts requires a gradient"),
        (f, y0, TIMES, p, {"adjoint": Discrete(replay=True)}, "adjoint"),
        (f, y0, TIMES, per_sample(p[None]), {}, "without batched=True"),
        (tree, y0[None], TIMES, None, {}, "one axis"),
        (tree, y0.to(torch.complex128), TIMES, None, {}, "complex128"),
        (native(lambda t, y, a: y * 2.0), y0, TIMES, {"rate": 1.0}, {}, "tensors, arrays and numbers in tuples"),
    ]
    for g, y, ts, args, options, why in cases:
        with pytest.raises(NotNative, match=why):
            solve(g, y, ts, args, route="native", **options)
    assert solve(f, y0, TIMES.clone().requires_grad_(), p).route == "torch"
    assert solve(f, y0, TIMES, p, adjoint=Discrete(replay=True)).route == "torch"


def test_captured_tensors_are_refused(plain):
    """A tensor that is no argument would be a constant: its gradient must not be lost without a word."""
    rate = leaf(0.5)
    with pytest.raises(TypeError):
        solve(native(lambda t, y, a: rate[0] * y), tensor(1.0, 2.0), (0.0, 1.0))


def test_captured_numbers_and_arrays_are_those_of_the_call(plain):
    rate, weights = 0.5, np.array([1.0, 2.0])

    @native
    def f(t, y, args):
        return -rate * y[0] * weights[0], -rate * y[1] * weights[1]

    end = lambda: solve(f, tensor(1.0, 1.0), (0.0, 1.0), route="native", controller=FINE).ys[-1]
    torch.testing.assert_close(end(), tensor(math.exp(-0.5), math.exp(-1.0)), rtol=1e-5, atol=1e-6)
    rate = 1.0
    weights[1] = 3.0
    torch.testing.assert_close(end(), tensor(math.exp(-1.0), math.exp(-3.0)), rtol=1e-5, atol=1e-6)


def test_tensors_changed_in_between_are_noticed(plain):
    p = leaf(*RATES)
    solution = solve(fresh(predators), tensor(0.7, 1.2), TIMES, p)
    with torch.no_grad():
        p.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        solution.ys.sum().backward()


def test_no_gradient_no_tape(plain):
    p = leaf(*RATES)
    with torch.no_grad():
        assert not solve(fresh(predators), tensor(0.7, 1.2), TIMES, p).ys.requires_grad
    assert not solve(fresh(predators), tensor(0.7, 1.2), TIMES, p.detach()).ys.requires_grad


# Derivatives of other kinds.


@pytest.mark.parametrize("batched", [False, True])
def test_second_derivatives(batched, plain):
    y0 = torch.rand(3, 2, dtype=DTYPE, generator=torch.Generator().manual_seed(3)).requires_grad_()
    y0, p = (
        (y0, per_sample(torch.rand(3, 4, dtype=DTYPE).requires_grad_())) if batched else (leaf(0.7, 1.2), leaf(*RATES))
    )
    parameters = p.value if batched else p
    f, found = fresh(predators), []
    for route in ("native", "torch"):
        solution = solve(f, y0, TIMES[:4], p, controller=PID(rtol=1e-4, atol=1e-6), batched=batched, route=route)
        first = torch.autograd.grad(total(solution), (y0, parameters), create_graph=True)
        found.append((*first, *torch.autograd.grad(sum(x.square().sum() for x in first), (y0, parameters))))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_transforms(plain):
    """They go by torch, where the steps can be differentiated in any way."""
    f, y0, p = fresh(turning), tensor(0.7, 1.2), torch.tensor(0.5, dtype=DTYPE)
    ts, options = (0.0, 0.5), {"controller": Fixed(0.25), "solver": Heun()}
    run = lambda y0, p: solve(f, y0, ts, p, **options).ys[-1]
    by_torch = lambda y0, p: solve(lambda t, y, p: torch.stack(turning(t, y, p)), y0, ts, p, **options).ys[-1]
    torch.testing.assert_close(grad(lambda p: run(y0, p).sum())(p), grad(lambda p: by_torch(y0, p).sum())(p))
    torch.testing.assert_close(jacrev(run)(y0, p), jacrev(by_torch)(y0, p))
    torch.testing.assert_close(jvp(run, (y0, p), (y0, p)), jvp(by_torch, (y0, p), (y0, p)))
    torch.testing.assert_close(
        vmap(run, (0, None))(torch.stack([y0, 2.0 * y0]), p), torch.stack([run(y0, p), run(2 * y0, p)])
    )
    with pytest.raises(NotNative, match=r"torch\.func"):
        vmap(lambda y0: solve(f, y0, ts, p, route="native").ys)(y0[None])


# Machine code.


def test_machine_code(tmp_path):
    y0, p = leaf(0.7, 1.2), leaf(*RATES)
    compared(fresh(predators), y0, TIMES, p, (y0, p), controller=FINE)
    batch = (torch.rand(40, 2, dtype=DTYPE) + 0.5).requires_grad_()
    compared(fresh(predators), batch, TIMES, p, (batch, p), controller=FINE, batched=True)


@pytest.mark.parametrize("options", [{"controller": FINE}, {"controller": Fixed(0.25), "solver": Euler()}])
def test_machine_code_notices_nan(options):
    """A compiler that may regroup sums makes `isfinite` true: one sample is undefined at once, one blows up."""
    y0 = tensor(0.7, 1.2).expand(3, 2)
    rates = tensor(*RATES).repeat(3, 1)
    rates[1, 0], rates[2, 3] = math.nan, 1e60
    solutions = [
        solve(fresh(predators), y0, TIMES, per_sample(rates), batched=True, throw=False, route=route, **options)
        for route in ("native", "torch")
    ]
    found, expected = solutions
    assert found.status.tolist() == expected.status.tolist()
    assert found.status[:2].tolist() == [Status.SUCCESS, Status.UNDEFINED]
    assert found.status[2] in (Status.NOT_FINITE, Status.UNDEFINED, Status.STALLED)
    assert torch.equal(found.ys.isnan(), expected.ys.isnan())
    assert torch.equal(found.stats.steps, expected.stats.steps)


def test_machine_code_of_float32():
    """Steps may differ where an error is at its bound; here they don't."""
    y0, p = torch.tensor([0.7, 1.2], requires_grad=True), torch.tensor(RATES, requires_grad=True)
    f = fresh(predators_array)
    found, expected = (solve(f, y0, TIMES.float(), p, solver=Bosh3(), route=route) for route in ("native", "torch"))
    assert (found.ys.dtype, found.y.dtype, found.route) == (torch.float32, torch.float32, "native")
    assert found.stats == expected.stats
    torch.testing.assert_close(
        found.ys, expected.ys, rtol=3e-4, atol=3e-4
    )  # errors are of few digits, and so are steps
    fixed = {"controller": Fixed(0.1), "solver": Heun()}
    found, expected = (solve(f, y0, TIMES.float(), p, route=route, **fixed) for route in ("native", "torch"))
    torch.testing.assert_close(found.ys, expected.ys, rtol=3e-6, atol=3e-6)
    grads = [torch.autograd.grad(total(s), (y0, p)) for s in (found, expected)]
    assert all(g.dtype == torch.float32 for g in grads[0])
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-4)


def test_machine_code_of_arrays():
    y0 = torch.linspace(0.0, 1.0, 11, dtype=DTYPE).sin().requires_grad_()
    rate, source = torch.tensor(0.6, dtype=DTYPE, requires_grad=True), torch.rand(21, dtype=DTYPE).requires_grad_()
    options = {"controller": PID(1e-4, 1e-5), "solver": Heun()}
    compared(fresh(heat), y0, TIMES[:4], (rate, source), (y0, rate, source), **options)


SCRIPT = """
import torch
from torchflux_zygote import native
from torchflux_diffeq import Euler, Fixed, solve
f = native(lambda t, y, rate: (-rate * y[0], rate * y[0]))
rate = torch.tensor(0.5, requires_grad=True)
solution = solve(f, torch.tensor([1.0, 0.0]), (0.0, 1.0), rate, solver=Euler(), controller=Fixed(0.25))
solution.ys[-1, 1].backward()
result = [solution.route, *solution.ys[-1].tolist(), rate.grad.item()]
print(result)
"""


def test_the_cache_between_processes(tmp_path, monkeypatch):
    """Another process takes the machine code from disk: it leaves no other files than this one did."""
    monkeypatch.setenv("TORCHFLUX_CACHE", str(tmp_path))
    kept = lambda: {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
    script, here = tmp_path / "script.py", {"__name__": "here"}
    script.write_text(SCRIPT)
    exec(compile(SCRIPT, script, "exec"), here)
    before = kept()
    assert {name.partition("_")[0] for name in before} >= {"march", "sweep"}
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(here["result"])
    assert kept() == before


def test_the_source_can_be_read():
    f, y0, p = fresh(predators_array), tensor(0.7, 1.2), tensor(*RATES)
    text = native_source(f, y0, p)
    compile(text, "march", "exec")
    assert "def march(" in text
    assert "u_1 = y_1 + h * (a_2_0 * k0_1 + a_2_1 * k1_1)" in text
    assert "zeros" not in text  # f's arrays of two numbers are gone
    assert "def sweep(" in native_source(f, y0, p, what="sweep")
    with pytest.raises(ValueError, match="'march' or 'sweep'"):
        native_source(f, y0, p, what="all")


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("batched", [False, True])
def test_a_native_slope_of_a_tree_of_numbers_is_solved_by_pytorch(kind: type, batched: bool) -> None:
    """Once it failed inside, though the native route's refusal sends one there."""

    def prey_and_predators(t, y, p):
        return p[0] * y[0] - p[1] * y[0] * y[1], p[1] * y[0] * y[1] - p[2] * y[1]

    def found(f):
        p = torch.tensor([1.0, 0.5, 0.3], dtype=torch.float64, requires_grad=True)
        y0 = kind(torch.tensor(x, dtype=torch.float64) for x in (([1.0, 2.0], [0.5, 0.3]) if batched else (1.0, 0.5)))
        prey, predators = solve(f, y0, (0.0, 1.0), p, batched=batched).ys
        (prey[-1].sum() + predators[-1].sum()).backward()
        return prey.detach(), p.grad

    mine, theirs = found(native(prey_and_predators)), found(lambda t, y, p: kind(prey_and_predators(t, y, p)))
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
