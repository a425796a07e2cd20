"""Callbacks: bounces and doses against their closed forms, with gradients by all that they depend on; jumps of `f`."""

import math

import pytest
import torch
from diffeq_problems import DTYPE, tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, jacfwd, jvp

from torchflux_diffeq import (
    PID,
    RK4,
    Callback,
    Dopri5,
    Event,
    Fixed,
    SaveAt,
    SolveError,
    Status,
    Tsit5,
    per_sample,
    solve,
)


def needing(*xs):
    return [x.clone().requires_grad_() for x in xs]


# A ball


def falling(t, y, args):
    return torch.stack((y[..., 1], -args[0] * torch.ones_like(y[..., 1])), -1)


BOUNCE = Callback(
    lambda t, y, args: y[..., 0], lambda t, y, args: torch.stack((y[..., 0], -args[1] * y[..., 1]), -1), direction=-1
)


def bounced(t, speed, gravity, restitution, most=100):
    """The state at `t` of a ball that is thrown up from the ground, and the times of its bounces."""
    begin, times = 0.0, []
    while begin + 2 * speed / gravity < t and len(times) < most:
        begin, speed = begin + 2 * speed / gravity, restitution * speed
        times.append(begin)
    s = t - begin
    return torch.stack((speed * s - gravity * s**2 / 2, speed - gravity * s)), torch.stack(times)


def ball(t, speed, gravity, restitution, **options):
    y0 = torch.stack((torch.zeros_like(speed), speed), -1)
    return solve(falling, y0, (0.0, t), (gravity, restitution), callbacks=BOUNCE, **options)


BALL = tensor(8.0, 9.81, 0.7)


@pytest.mark.parametrize("solver", [Tsit5(), Dopri5()], ids=repr)
def test_a_ball_bounces(solver):
    given = needing(*BALL)
    found, (due, times) = ball(4.5, *given, solver=solver), bounced(4.5, *given)
    assert len(times) == 4
    assert torch.allclose(found.t_events[0], times, rtol=1e-12)
    assert torch.allclose(found.ys[-1], due, rtol=1e-10)
    for x, y in ((found.ys[-1, 0], due[0]), (found.ys[-1, 1], due[1]), (found.t_events[0][-1], times[-1])):
        a, b = (torch.autograd.grad(z, given, retain_graph=True) for z in (x, y))
        assert all(torch.allclose(p, q, rtol=1e-9) for p, q in zip(a, b, strict=True))


def test_a_wrong_saltation_is_noticed():
    """The canary: with times of bounces that count as constant, the gradient is another."""
    given = needing(*BALL)
    fixed = Callback(bounced(4.5, *BALL)[1], BOUNCE.affect)
    y0 = torch.stack((torch.zeros_like(given[0]), given[0]))
    found = solve(falling, y0, (0.0, 4.5), given[1:], callbacks=fixed).ys[-1]
    due = bounced(4.5, *given)[0]
    assert torch.allclose(found, due, rtol=1e-8, atol=1e-8)
    a, b = (torch.autograd.grad(z[0], given) for z in (found, due))
    assert not any(torch.allclose(p, q, rtol=1e-2) for p, q in zip(a, b, strict=True))


def test_a_ball_twice_differentiated():
    f = lambda *given: ball(2.5, *given).ys[-1]
    assert gradcheck(f, needing(*BALL))
    assert gradgradcheck(f, needing(*BALL))


def test_a_ball_in_torch_func():
    f = lambda restitution: ball(4.5, BALL[0], BALL[1], restitution).ys[-1, 0]
    g = lambda restitution: bounced(4.5, BALL[0], BALL[1], restitution)[0][0]
    e = BALL[2]
    assert torch.allclose(grad(f)(e), grad(g)(e), rtol=1e-9)
    assert torch.allclose(jacfwd(f)(e), grad(g)(e), rtol=1e-9)
    assert torch.allclose(jvp(f, (e,), (torch.ones_like(e),))[1], grad(g)(e), rtol=1e-9)
    assert torch.allclose(grad(grad(f))(e), grad(grad(g))(e), rtol=1e-8)


def test_each_ball_of_a_batch():
    speed = torch.linspace(2.0, 9.0, 5, dtype=DTYPE).requires_grad_()
    restitution = torch.linspace(0.5, 0.9, 5, dtype=DTYPE).requires_grad_()
    y0 = torch.stack((torch.zeros_like(speed), speed), -1)
    args = (9.81, per_sample(restitution))
    ts = torch.linspace(0.0, 0.75, 7, dtype=DTYPE)
    whole = solve(falling, y0, ts, args, callbacks=BOUNCE, batched=True, saveat=SaveAt(dense=True))
    for i in range(5):
        alone = solve(falling, y0[i], ts, (9.81, restitution[i]), callbacks=BOUNCE)
        assert torch.allclose(whole.ys[:, i], alone.ys, rtol=1e-10, atol=1e-12)
        assert whole.stats.evaluations[i] == alone.stats.evaluations
        times = whole.t_events[0][i]
        assert torch.allclose(times[~times.isnan()], alone.t_events[0], rtol=1e-12)
        a, b = (
            torch.autograd.grad(y[-1, 0], (speed, restitution), retain_graph=True, allow_unused=True)
            for y in (whole.ys[:, i], alone.ys)
        )
        for p, q in zip(a, b, strict=True):
            assert torch.allclose(p, torch.zeros_like(p) if q is None else q, rtol=1e-9, atol=1e-12)
    assert torch.allclose(whole.evaluate(ts)[1:], whole.ys[1:], rtol=1e-12, atol=1e-14)


def test_a_ball_that_comes_to_rest():
    end = 2 * BALL[0] / BALL[1] / (1 - BALL[2])
    with pytest.raises(SolveError, match="follows itself without end"):
        ball(10.0, *BALL)
    for options in ({}, {"solver": RK4(), "controller": Fixed(0.5)}):
        solution = ball(10.0, *BALL, throw=False, **options)
        assert solution.status is Status.ZENO
        assert math.isclose(solution.t, end, rel_tol=1e-8)
        assert solution.ys[-1].isnan().all()
        assert abs(solution.y[0]) < 1e-8
    low = solve(
        falling,
        tensor(0.0, 8.0).float(),
        (0.0, 10.0),
        (9.81, 0.7),
        callbacks=BOUNCE,
        throw=False,
        solver=RK4(),
        controller=Fixed(0.5),
    )
    assert low.status is Status.ZENO
    assert math.isclose(low.t, end, rel_tol=1e-3)


def test_an_end_behind_a_change():
    third = Callback(BOUNCE.condition, BOUNCE.affect, direction=-1, terminal=3)
    y0, args = torch.stack((0 * BALL[0], BALL[0])), tuple(BALL[1:])
    solution = solve(falling, y0, (0.0, 20.0), args, callbacks=third)
    assert solution.status is Status.EVENT
    assert math.isclose(solution.t, 2 * 8.0 / 9.81 * (1 + 0.7 + 0.49), rel_tol=1e-12)
    assert math.isclose(solution.y[1], 8.0 * 0.7**3, rel_tol=1e-12)
    slow = Event(lambda t, y, args: y[1].square() + 2 * args[0] * y[0] - 0.1)
    solution = solve(falling, y0, (0.0, 20.0), args, callbacks=BOUNCE, events=slow)
    assert solution.status is Status.EVENT  # the energy is lost at a bounce
    bounces = math.ceil(math.log(math.sqrt(0.1) / 8.0) / math.log(0.7))
    assert len(solution.t_events[1]) == bounces
    assert torch.allclose(solution.t, bounced(50.0, BALL[0], BALL[1], tensor(0.7)[0], bounces)[1][-1])


def test_two_things_at_the_same_time():
    """Both callbacks have the same condition, and an event notes it."""
    half = Callback(BOUNCE.condition, lambda t, y, args: y * tensor(1.0, 0.5), direction=-1)
    note = Event(BOUNCE.condition, terminal=False, direction=-1)
    speed, gravity, restitution = needing(*BALL)
    y0 = torch.stack((0 * speed, speed))
    solution = solve(falling, y0, (0.0, 2.5), (gravity, restitution), callbacks=[BOUNCE, half], events=note)
    due, times = bounced(2.5, speed, gravity, restitution / 2)
    assert torch.allclose(solution.ys[-1], due, rtol=1e-10)
    for found in solution.t_events:
        assert torch.allclose(found, times, rtol=1e-12)
    a, b = (torch.autograd.grad(z[0], (speed, gravity, restitution)) for z in (solution.ys[-1], due))
    assert all(torch.allclose(p, q, rtol=1e-9) for p, q in zip(a, b, strict=True))


def test_a_switch_of_a_parameter_that_is_part_of_the_state():
    """A thermostat: the change doesn't touch what its condition looks at."""
    f = lambda t, y, args: torch.stack((-y[0] + 2 * y[1], 0 * y[1]))
    off = Callback(lambda t, y, args: y[0] - 1.2, lambda t, y, args: torch.stack((y[0], 0 * y[1])), direction=1)
    on = Callback(lambda t, y, args: y[0] - 0.8, lambda t, y, args: torch.stack((y[0], 0 * y[1] + 1)), direction=-1)
    solution = solve(f, tensor(0.0, 1.0), (0.0, 10.0), callbacks=[off, on], controller=PID(1e-9, 1e-11))
    first, heat, cool = -math.log(0.4), math.log(1.2 / 0.8), math.log(1.2 / 0.8)
    due = first + (heat + cool) * torch.arange(len(solution.t_events[0]), dtype=DTYPE)
    assert len(due) == 12
    assert torch.allclose(solution.t_events[0], due, rtol=1e-7)
    assert torch.allclose(solution.t_events[1], due[: len(solution.t_events[1])] + cool, rtol=1e-7)


# Doses


def emptying(t, y, rate):
    return torch.stack((-rate[0] * y[..., 0], rate[0] * y[..., 0] - rate[1] * y[..., 1]), -1)


def blood(t, doses, times, ka, ke):
    """One compartment with absorption of the first order, from the gut: the amount in the blood."""
    s = (t - times).clamp(min=0)
    return (doses * ka / (ka - ke) * (torch.exp(-ke * s) - torch.exp(-ka * s)) * (t > times)).sum()


def test_doses():
    rates, times = needing(tensor(1.1, 0.2), tensor(0.0, 6.0, 13.0))
    dose = needing(tensor(3.0))[0]
    give = Callback(times, lambda t, y, args: y + torch.cat((dose, 0 * dose)))
    ts = torch.linspace(0.0, 24.0, 9, dtype=DTYPE)
    solution = solve(emptying, torch.zeros(2, dtype=DTYPE), ts, rates, callbacks=give, controller=PID(1e-9, 1e-11))
    due = torch.stack([blood(t, dose, times, *rates) for t in ts])
    assert torch.allclose(solution.ys[:, 1], due, atol=1e-8)
    assert torch.equal(solution.ys[0], torch.zeros(2, dtype=DTYPE))
    a, b = (torch.autograd.grad(x.square().sum(), (rates, dose, times)) for x in (solution.ys[:, 1], due))
    assert all(torch.allclose(p[p != 0], q[p != 0], rtol=1e-6) and (p != 0).any() for p, q in zip(a, b, strict=True))
    assert solution.stats.rejected < 10


def test_doses_are_no_steps_of_others():
    """Fixed steps: exactly those between the doses."""
    give = Callback((0.5, 1.25), lambda t, y, args: y + 1)
    solution = solve(
        lambda t, y, args: -y, tensor(1.0), (0.0, 2.0), callbacks=give, controller=Fixed(0.5), saveat=SaveAt(steps=True)
    )
    assert solution.steps.ts.tolist() == [0.0, 0.5, 1.0, 1.25, 1.75, 2.0]


def test_each_samples_own_doses():
    times = tensor(*[[0.0, 3.0, math.nan], [1.0, 2.0, 5.0]]).requires_grad_()
    rates = tensor(*[[1.1, 0.2], [0.9, 0.3]])
    give = Callback(times, lambda t, y, args: y + torch.stack((args[2], 0 * args[2]), -1))
    doses = tensor(2.0, 3.0).requires_grad_()
    args = (per_sample(rates[:, 0]), per_sample(rates[:, 1]), per_sample(doses))
    y0 = torch.zeros(2, 2, dtype=DTYPE)
    tight = PID(1e-10, 1e-12)
    solution = solve(emptying, y0, (0.0, 8.0), args, callbacks=give, batched=True, controller=tight)
    due = torch.stack([blood(8.0, doses[i], times[i][: 2 + i], *rates[i]) for i in range(2)])
    assert torch.allclose(solution.ys[-1, :, 1], due, atol=1e-8)
    a, b = (torch.autograd.grad(x.sum(), (doses, times)) for x in (solution.ys[-1, :, 1], due))
    assert torch.allclose(a[0], b[0], rtol=1e-7)
    assert torch.allclose(a[1][0, 1:2], b[1][0, 1:2], rtol=1e-6)
    assert torch.allclose(a[1][1], b[1][1], rtol=1e-6)


def test_times_of_changes_in_both_directions():
    """From the start to before the end: the end's belongs to what follows."""
    for ts in ((0.0, 2.0), (2.0, 0.0)):
        give = Callback((0.0, 1.0, 2.0, 3.0), lambda t, y, args: y + 1 + 10 * t)
        solution = solve(lambda t, y, args: 0 * y, tensor(0.0), ts, callbacks=give)
        assert solution.ys[-1] == {0.0: 12.0, 2.0: 32.0}[ts[0]]


def test_a_change_at_a_known_time_may_end():
    give = Callback((1.0, 2.0), lambda t, y, args: y + 1, terminal=2)
    solution = solve(lambda t, y, args: 0 * y, tensor(0.0), (0.0, 5.0), callbacks=give)
    assert (solution.t, solution.y, solution.status) == (2.0, 2.0, Status.EVENT)


# Jumps


def stepwise(t, y, height):
    """Grows at the rate 1 until 1, then at `height`: with `t < 1` or `t <= 1`, all the same."""
    return torch.where(t < 1.0, torch.ones_like(y), height * y)


def test_jumps_are_landed_on():
    calls = []

    def f(t, y, args):
        calls.append(float(t))
        return torch.where(t <= 1.0, -y, 3 - 5 * y) + torch.where(t < 2.5, 0.0, 40 * torch.cos(10 * t))

    options = {"controller": PID(1e-8, 1e-10)}
    plain = solve(f, tensor(1.0), (0.0, 4.0), **options)
    calls.clear()
    aware = solve(
        f, tensor(1.0), (0.0, 4.0), controller=PID(1e-8, 1e-10, jump_ts=(2.5, 1.0)), saveat=SaveAt(steps=True)
    )
    assert {1.0, 2.5} <= set(aware.steps.ts.tolist())
    assert not {1.0, 2.5} & set(calls)
    assert {math.nextafter(1.0, 0.0), math.nextafter(1.0, 2.0)} <= set(calls)
    assert aware.stats.rejected < plain.stats.rejected / 2
    assert aware.stats.evaluations < plain.stats.evaluations
    assert torch.allclose(plain.ys, aware.ys, rtol=1e-5)


@pytest.mark.parametrize("ts", [(0.0, 2.0), (2.0, 0.0)])
def test_fixed_steps_have_their_full_order_across_jumps(ts):
    f = lambda t, y, args: torch.where(t < 0.77, torch.ones_like(y), y)
    exact = {0.0: math.exp(1.23) * 0.77, 2.0: math.exp(-1.23) - 0.77}[ts[0]]
    y0 = tensor(0.0 if ts[0] == 0.0 else 1.0)
    errors = []
    for dt in (0.2, 0.1, 0.05):
        y = solve(f, y0, ts, solver=RK4(), controller=Fixed(dt, jump_ts=(0.77,))).ys[-1]
        errors.append(abs(float(y) - exact))
    assert min(errors[0] / errors[1], errors[1] / errors[2]) > 12
    assert abs(float(solve(f, y0, ts, solver=RK4(), controller=Fixed(0.05)).ys[-1]) - exact) > 100 * errors[2]


def test_the_gradient_by_the_time_of_a_jump():
    def end(jump, height):
        f = lambda t, y, args: torch.where(t < jump, torch.ones_like(y), height * y * torch.cos(t))
        return solve(f, tensor(0.5), (0.0, 3.0), solver=RK4(), controller=Fixed(0.01, jump_ts=jump[None])).ys[-1]

    jump, height = needing(tensor(1.234)[0], tensor(0.7)[0])
    found = torch.autograd.grad(end(jump, height), (jump, height))
    due = (0.5 + jump) * torch.exp(height * (math.sin(3.0) - jump.sin()))
    assert torch.allclose(end(jump, height), due, rtol=1e-8)
    for a, b in zip(found, torch.autograd.grad(due, (jump, height)), strict=True):
        assert torch.allclose(a, b, rtol=1e-7)


def test_jumps_in_a_batch_with_gradients():
    height = torch.linspace(-1.0, 1.0, 4, dtype=DTYPE).requires_grad_()
    f = lambda t, y, h: torch.where(t[:, None] < 1.0, torch.ones_like(y), h[:, None] * y)
    y0 = torch.zeros(4, 1, dtype=DTYPE)
    controller = PID(1e-10, 1e-12, jump_ts=torch.ones(1))
    end = solve(f, y0, (0.0, 2.0), per_sample(height), controller=controller, batched=True).ys[-1, :, 0]
    assert torch.allclose(end, height.exp(), rtol=1e-8)
    assert torch.allclose(torch.autograd.grad(end.sum(), height)[0], height.exp(), rtol=1e-7)


# Refusals


@pytest.mark.parametrize(
    ("callbacks", "error", "message"),
    [
        (3.0, TypeError, r"callbacks\[0\] is 3.0: pass a Callback"),
        (
            Callback((1.0,), lambda t, y, args: y[:1]),
            ValueError,
            r"callbacks\[0\]'s affect's state has the shape \(1,\)",
        ),
        (Callback((1.0,), lambda t, y, args: None), TypeError, r"callbacks\[0\]'s affect returned a NoneType"),
        (Callback((math.nan,), lambda t, y, args: y), ValueError, r"callbacks\[0\]'s times has NaN"),
        (Callback(torch.ones(2, 3), lambda t, y, args: y), ValueError, r"shape \(2, 3\), not \(times,\)"),
        (Callback(1.0, lambda t, y, args: y), TypeError, "pass the times"),
    ],
)
def test_bad_callbacks(callbacks, error, message):
    with pytest.raises(error, match=message):
        solve(lambda t, y, args: -y, tensor(1.0, 2.0), (0.0, 2.0), callbacks=callbacks)
    with pytest.raises(TypeError, match="affect=None"):
        Callback((1.0,), None)


def test_a_change_to_nan_is_a_failure():
    give = Callback((1.0,), lambda t, y, args: y * math.nan)
    solution = solve(lambda t, y, args: -y, tensor(1.0), (0.0, 2.0), callbacks=give, throw=False)
    assert solution.status is Status.NOT_FINITE
    assert solution.t == 1.0
