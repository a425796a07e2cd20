"""Gradients: of all that a solution depends on, against finite differences and tight solutions, in every transform."""

import pytest
import torch
from diffeq_problems import DTYPE, RATES, lotka_volterra, tensor, turning
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.functional import hessian as hessian_of
from torch.autograd.functional import jacobian
from torch.autograd.gradcheck import GradcheckError
from torch.func import grad, hessian, jacfwd, jvp, vmap

from torchflux import gradient
from torchflux_diffeq import PID, Discrete, Dopri5, Fixed, Tsit5, _together, per_sample, solve
from torchflux_diffeq import _adjoint as module
from torchflux_diffeq import _replay as replays

TS = torch.linspace(0.0, 3.0, 7, dtype=DTYPE)
P = tensor(*RATES)
Y = tensor(1.0, 0.8)
REPLAY = [Discrete(), Discrete(replay=True), Discrete("tape", replay=True)]


def loss(p, y0, ts=TS, **options):
    return (solve(lotka_volterra, y0, ts, p, **options).ys[1:] ** 2).sum()


def needing(*xs):
    return [x.clone().requires_grad_() for x in xs]


@pytest.mark.parametrize("adjoint", REPLAY, ids=str)
@pytest.mark.parametrize("dt", [0.1, 0.4])
def test_finite_differences_once_and_twice(adjoint, dt):
    """Of long steps every entry of both Jacobians, of short ones along a random direction."""
    f = lambda p, y0: loss(p, y0, controller=Fixed(dt), adjoint=adjoint)
    along = {"fast_mode": dt < 0.4}
    assert gradcheck(f, needing(P, Y), **along)
    assert gradgradcheck(f, needing(P, Y), atol=1e-4, **along)


def test_all_steps_together_are_a_replay(monkeypatch):
    p, y0 = needing(P, Y)
    found = torch.autograd.grad(loss(p, y0, controller=PID(1e-8, 1e-10)), (p, y0))
    due = torch.autograd.grad(loss(p, y0, controller=PID(1e-8, 1e-10), adjoint=Discrete(replay=True)), (p, y0))
    assert all(torch.allclose(a, b, rtol=1e-11) for a, b in zip(found, due, strict=True))
    called = []
    monkeypatch.setattr(module, "replay", lambda *args: called.append(args))
    loss(p, y0).backward()
    assert not called


@pytest.mark.parametrize("block", [1, 500, 2**30])
def test_all_steps_in_blocks_are_a_replay(block, monkeypatch):
    """Blocks of a round, of some rounds and of all of them; samples leave on the way, and steps are rejected."""
    monkeypatch.setattr(_together, "BLOCK", block)
    monkeypatch.setattr(_together, "FEWEST", 1)
    p, y0 = needing(P, torch.stack((Y, 2 * Y, 0.25 * Y)))
    options = {"batched": True, "controller": PID(1e-8, 1e-10), "dt0": 1.0}  # all reject the first step
    assert solve(lotka_volterra, y0, TS, p, **options).stats.steps.unique().numel() > 1
    found = torch.autograd.grad(loss(p, y0, **options), (p, y0))
    due = torch.autograd.grad(loss(p, y0, adjoint=Discrete(replay=True), **options), (p, y0))
    assert all(torch.allclose(a, b, rtol=1e-11) for a, b in zip(found, due, strict=True))
    whole = _together._Steps.blocks
    monkeypatch.setattr(_together._Steps, "blocks", lambda steps: [(x, rows[1:]) for x, rows in whole(steps)])
    wrong = torch.autograd.grad(loss(p, y0, **options), (p, y0))  # a round is left out of each block
    assert not torch.allclose(wrong[1], due[1], rtol=1e-3)


@pytest.mark.parametrize("short", [0, 7, 10**6])
@pytest.mark.parametrize("batched", [False, True])
def test_the_tape_of_a_few_steps_is_a_replay(short, batched, monkeypatch):
    """Whether there is none, whether it is forgotten on the way, or whether it is that of all steps."""
    monkeypatch.setattr(module, "SHORT", short)
    monkeypatch.setattr(_together, "FEWEST", short + 1)
    p, y0 = needing(P, torch.stack((Y, 2 * Y, 0.5 * Y)))
    gradients = []
    for adjoint in (Discrete(), Discrete(replay=True)):
        ys = solve(lotka_volterra, y0, TS, p, batched=batched, adjoint=adjoint).ys
        first = torch.autograd.grad((ys**2).sum(), (p, y0), create_graph=True)
        gradients.append([*first, *torch.autograd.grad((first[0] ** 2).sum(), (p, y0))])
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("y0", [tensor(0.9), tensor([0.9], [-5.0])], ids=["alone", "in a batch"])
def test_a_rejected_step_that_is_not_finite_leaves_no_trace(y0):
    """Beyond y = 1 the slope has neither a value nor a derivative; the first step leads there."""
    rate, y0 = needing(tensor(1.0), y0)
    f = lambda t, y, rate: rate * (1 - y).sqrt()
    solution = solve(f, y0, (0.0, 0.25, 0.5), rate, dt0=0.5, batched=y0.dim() > 1, max_steps=64)
    assert torch.as_tensor(solution.stats.rejected).max() > 0
    found = torch.autograd.grad(solution.ys[-1].sum(), (rate, y0))
    root = (1 - y0).sqrt() - 0.25 * rate  # y = 1 - (sqrt(1 - y0) - rate t / 2)^2
    due = torch.autograd.grad((1 - root**2).sum(), (rate, y0))
    assert all(torch.allclose(a, b, rtol=1e-4) for a, b in zip(found, due, strict=True))


@pytest.mark.parametrize("along", [False, True], ids=["every entry", "along a direction"])
def test_a_wrong_slope_is_noticed(along):
    """The canary: a rule that is off by 1 in 100 doesn't pass."""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g * 1.01

    f = lambda t, y, p: lotka_volterra(t, y, Wrong.apply(p))
    p = needing(P)[0]
    with pytest.raises(GradcheckError):
        gradcheck(lambda p: solve(f, Y, TS, p, controller=Fixed(0.1)).ys, (p,), fast_mode=along)


def test_checkpoints_give_the_same_gradient(monkeypatch):
    """Of 60 steps: three parts of 20, of three parts of 7 or 6, of two parts each."""
    depths, checkpointed = [0], replays.checkpointed

    def counted(f, *args):
        depths.append(depths[-1] + 1)
        result = checkpointed(f, *args)
        depths.append(depths[-1] - 1)
        return result

    monkeypatch.setattr(replays, "STRETCH", 4)
    monkeypatch.setattr(replays, "FAN", 3)
    monkeypatch.setattr(replays, "checkpointed", counted)
    p, y0 = needing(P, Y)
    options = {"controller": Fixed(0.05)}
    tape = torch.autograd.grad(loss(p, y0, adjoint=Discrete("tape", replay=True), **options), (p, y0))
    assert len(depths) == 1
    end = loss(p, y0, adjoint=Discrete(replay=True), **options)
    assert max(depths) == 3
    checkpoints = torch.autograd.grad(end, (p, y0))
    assert all(torch.equal(a, b) for a, b in zip(tape, checkpoints, strict=True))


def test_what_f_closes_over():
    raw = needing(P.log())[0]
    p = raw.exp()  # not a leaf
    net = torch.nn.Linear(2, 2, dtype=DTYPE)

    def f(t, y, args):
        return lotka_volterra(t, y, p) + 0.1 * net(y) * args["scale"]

    args = {"scale": needing(tensor(0.7))[0], "name": "not a tensor"}
    for wrt in ([raw], [p], [*net.parameters(), args["scale"]]):
        found = []
        for adjoint in REPLAY:
            ys = solve(f, Y, TS, args, adjoint=adjoint, controller=Fixed(0.1)).ys
            found.append(torch.autograd.grad(ys.sum(), wrt, retain_graph=True))
        for first, *others in zip(*found, strict=True):
            assert first.abs().max() > 0
            assert all(torch.allclose(first, other, rtol=1e-10) for other in others)


def test_a_parameter_that_comes_into_play_later():
    p = needing(tensor(0.5))[0]

    def end(p, adjoint):
        f = lambda t, y, args: -y if t < 1.0 else -p * y
        return solve(f, tensor(1.0), (0.0, 2.0), controller=Fixed(0.01), adjoint=adjoint).ys[-1]

    for adjoint in REPLAY:
        assert gradcheck(lambda p, adjoint=adjoint: end(p, adjoint), (p,))


@pytest.mark.parametrize("adjoint", REPLAY, ids=str)
def test_a_parameter_that_comes_into_play_later_in_a_batch(adjoint):
    """The first steps had no tape, so not all of them are known when the gradient is due."""
    p = needing(tensor(0.5))[0]

    def f(t, y, args):
        late = (t >= 1.0)[:, None]
        return torch.where(late, -p * y, -y) if late.any() else -y

    y0 = tensor(1.0, 2.0)[:, None]

    def end(value):
        with torch.no_grad():
            p.fill_(value)
        return solve(f, y0, (0.0, 2.0), controller=Fixed(0.05), batched=True, adjoint=adjoint).ys[-1].sum()

    difference = (end(0.5 + 1e-6) - end(0.5 - 1e-6)).detach() / 2e-6
    assert torch.allclose(torch.autograd.grad(end(0.5), p)[0], difference, rtol=1e-7)


class Times(torch.autograd.Function):
    """A product; what goes into `apply` is shown to nobody."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y, w):
        return y * w

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        y, w = ctx.saved_tensors
        return g * w, (g * y).sum()


@pytest.mark.parametrize("leaf", [True, False])
def test_a_tensor_that_no_operation_shows_is_not_missed(leaf):
    weight = needing(tensor(0.5)[0])[0]
    hidden = weight if leaf else weight * 1.0
    f = lambda t, y, args: -Times.apply(y, hidden)
    y = solve(f, Y, (0.0, 1.0), controller=Fixed(0.05)).ys[-1].sum()
    g = torch.autograd.grad(y, weight)[0]
    assert torch.allclose(g, -Y.sum() * torch.exp(-weight.detach()), rtol=1e-6)


@pytest.mark.parametrize("adjoint", REPLAY, ids=str)
def test_what_is_made_of_a_parameter_counts_once_beside_it(adjoint):
    rate = needing(tensor(0.5)[0])[0]
    double, square = 2 * rate, (rate * rate)[None].unbind()[0]
    f = lambda t, y, args: -double * rate * square * y  # 2 rate^4
    y = solve(f, Y, (0.0, 1.0), controller=Fixed(0.05), adjoint=adjoint).ys[-1].sum()
    due = -8 * 0.5**3 * Y.sum() * torch.exp(tensor(-2 * 0.5**4))
    assert torch.allclose(torch.autograd.grad(y, rate)[0], due, rtol=1e-6)


@pytest.mark.parametrize("adjoint", REPLAY, ids=str)
def test_what_the_first_states_are_made_of_counts_once(adjoint):
    """With a gradient that will be differentiated, too: of `args`, of which `y0` is a part, or of `y0` in `f`."""
    given = lambda v: solve(lotka_volterra, v[4:], TS, v[:4], adjoint=adjoint).ys[1:].square().sum()
    within = lambda v: solve(lotka_volterra, v[4:], TS, v, adjoint=adjoint).ys[1:].square().sum()
    once = lambda y0: solve(lambda t, y, args: -y * y0**2, y0, TS, adjoint=adjoint).ys.square().sum()
    apart = lambda y0: (y0**2 * torch.exp(-2 * y0**2 * TS[:, None])).sum()
    for f, due, x, atol in ((within, given, torch.cat([P, Y]), 1e-10), (once, apart, Y, 1e-4)):
        assert torch.allclose(jacobian(f, x), jacobian(due, x), rtol=1e-5, atol=atol)
        assert torch.allclose(jacobian(f, x, create_graph=True), jacobian(due, x), rtol=1e-5, atol=atol)
        assert torch.allclose(hessian_of(f, x), hessian_of(due, x), rtol=1e-4, atol=10 * atol)


@pytest.mark.parametrize("adjoint", REPLAY, ids=str)
def test_a_slope_that_is_a_gradient(adjoint):
    """What `torch.func.grad` returns inside of `f` was made by no operation that shows."""
    weight = needing(tensor(0.5)[0])[0]
    f = lambda t, y, args: -grad(lambda y: (weight * y * y).sum() / 2)(y)
    y = solve(f, Y[None], (0.0, 1.0), controller=Fixed(0.05), adjoint=adjoint, batched=True).ys[-1].sum()
    due = -Y.sum() * torch.exp(-weight.detach())
    assert torch.allclose(torch.autograd.grad(y, weight)[0], due, rtol=1e-6)


def test_times():
    ts = needing(TS)[0]
    found = torch.autograd.grad(loss(P, Y, ts, controller=PID(1e-10, 1e-12)), ts)[0]
    ys = solve(lotka_volterra, Y, TS, P, controller=PID(1e-11, 1e-13)).ys
    slopes = lotka_volterra(0.0, ys, P)
    due = 2 * (ys * slopes).sum(-1)
    assert torch.allclose(found[1:], due[1:], rtol=1e-6)
    assert torch.allclose(found[0], -due[1:].sum(), rtol=1e-6)  # it is autonomous: only the distances count


@pytest.mark.parametrize("solver", [Tsit5(), Dopri5()], ids=repr)
def test_torch_func(solver):
    f = lambda p: loss(p, Y, solver=solver)
    p = needing(P)[0]
    due = torch.autograd.grad(f(p), p)[0]
    assert torch.allclose(grad(f)(P), due, rtol=1e-10)
    assert torch.allclose(jacfwd(f)(P), due, rtol=1e-10)
    v = tensor(0.3, -0.2, 0.5, 0.1)
    assert torch.allclose(jvp(f, (P,), (v,))[1], due @ v, rtol=1e-10)
    assert torch.allclose(gradient(f, P)[0], due, rtol=1e-10)


def test_second_derivatives_in_torch_func():
    f = lambda p: loss(p, Y, controller=Fixed(0.1))
    g = torch.autograd.functional.hessian(f, P)
    assert torch.allclose(hessian(f)(P), g, rtol=1e-8, atol=1e-8)


def test_vmap():
    ps = P * torch.linspace(0.8, 1.2, 5, dtype=DTYPE)[:, None]
    f = lambda p, y0: solve(lotka_volterra, y0, TS, p, controller=PID(1e-9, 1e-11)).ys
    due = torch.stack([f(p, Y) for p in ps])
    assert torch.allclose(vmap(f, (0, None))(ps, Y), due, rtol=1e-7)
    gs = vmap(grad(lambda p: f(p, Y).sum()))(ps)
    assert torch.allclose(gs, torch.stack([grad(lambda p: f(p, Y).sum())(p) for p in ps]), rtol=1e-6)


@pytest.mark.parametrize("adjoint", REPLAY, ids=str)
def test_batches(adjoint):
    ys = Y * torch.linspace(0.5, 2.0, 4, dtype=DTYPE)[:, None]
    rates = P * torch.linspace(0.9, 1.1, 4, dtype=DTYPE)[:, None]
    y0, p = needing(ys, rates)
    f = lambda t, y, args: lotka_volterra(t, y, args["p"].T)
    solution = solve(f, y0, TS, {"p": per_sample(p)}, batched=True, adjoint=adjoint)
    found = torch.autograd.grad((solution.ys[1:] ** 2).sum(), (y0, p))
    for i in range(4):
        yi, pi = needing(ys[i], rates[i])
        due = torch.autograd.grad(loss(pi, yi, adjoint=adjoint), (pi, yi))
        assert torch.allclose(found[0][i], due[1], rtol=1e-9)
        assert torch.allclose(found[1][i], due[0], rtol=1e-9)


def test_backward_time():
    ts = TS.flip(0)
    f = lambda y0: solve(turning, y0, ts, controller=Fixed(0.1)).ys
    assert gradcheck(f, needing(Y))


def test_no_tape_where_none_is_asked_for():
    p = needing(P)[0]
    with torch.no_grad():
        assert not solve(lotka_volterra, Y, TS, p).ys.requires_grad
    assert not solve(lotka_volterra, Y, TS, P).ys.requires_grad


def test_float32_stays_float32():
    p = P.float().requires_grad_()
    ys = solve(lotka_volterra, Y.float(), TS, p).ys
    assert ys.dtype == torch.float32
    assert torch.autograd.grad(ys.sum(), p)[0].dtype == torch.float32
