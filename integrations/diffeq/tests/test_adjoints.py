"""Every adjoint against finite differences and against the discrete one, by all that a solution depends on."""

import pytest
import torch
from diffeq_problems import DTYPE, lotka_volterra, tensor
from torch import nn
from torch.func import jacfwd, jvp

from torchflux_diffeq import PID, Backsolve, Discrete, Dopri5, Fixed, Forward, SolveError, per_sample, solve

ADJOINTS = [Discrete(), Discrete(replay=True), Forward(), Backsolve()]
TIGHT = PID(1e-8, 1e-10)
TS = torch.linspace(0.0, 0.8, 4, dtype=DTYPE)
RATES = tensor(1.5, 1.0, 3.0)
Y = tensor(1.0, 0.8)
WEIGHTS = torch.arange(1.0, 5.0, dtype=DTYPE)


class Problem:
    """A scalar of a solution, by the name of what it depends on: the state, arguments, closures, times."""

    def __init__(self, batched=False, backward=False):
        net = nn.Linear(2, 2, dtype=DTYPE)
        with torch.no_grad():
            net.weight.copy_(tensor(0.1, -0.2, 0.05, 0.1).view(2, 2))
            net.bias.copy_(tensor(0.02, -0.01))
        y0 = torch.stack([Y, 1.2 * Y, 0.7 * Y]) if batched else Y
        own = tensor(0.9, 1.0, 1.1) if batched else tensor(1.0)[0]
        self.batched, self.net = batched, net
        self.given = {
            "y0": y0.clone().requires_grad_(),
            "args": RATES.clone().requires_grad_(),
            "per sample": own.requires_grad_(),
            "times": (TS.flip(0) if backward else TS).clone().requires_grad_(),
            "closure": net.weight,
        }

    def slope(self, t, y, args):
        rates, own = args["rates"], args["own"]
        p = torch.stack([*rates.expand(*y.shape[:-1], 3).unbind(-1), own.expand(y.shape[:-1])])
        return lotka_volterra(t, y, p) + self.net(y) * torch.sin(t)[..., None]

    def loss(self, adjoint, controller=TIGHT, **options):
        args = {"rates": self.given["args"], "own": self.given["per sample"]}
        if self.batched:
            args["own"] = per_sample(args["own"])
        options |= {"batched": self.batched, "controller": controller, "adjoint": adjoint}
        ys = solve(self.slope, self.given["y0"], self.given["times"], args, **options).ys
        return (ys.square().flatten(1).sum(1) * WEIGHTS).sum()

    def difference(self, name, ε=1e-5):
        """The loss's derivative in a direction, and the direction."""
        x = self.given[name]
        direction = torch.linspace(0.3, 1.0, x.numel(), dtype=DTYPE).view(x.shape)
        losses = []
        with torch.no_grad():
            for sign in (1, -2, 1):
                x += sign * ε * direction
                losses.append(self.loss(Discrete()))
        return (losses[0] - losses[1]) / (2 * ε), direction


@pytest.mark.parametrize("batched", [False, True], ids=["one", "batched"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_finite_differences_and_each_other(batched, backward):
    problem = Problem(batched, backward)
    wrt = list(problem.given.values())
    found = [torch.autograd.grad(problem.loss(adjoint), wrt) for adjoint in ADJOINTS]
    for i, name in enumerate(problem.given):
        due, direction = problem.difference(name)
        for adjoint, gradients in zip(ADJOINTS, found, strict=True):
            assert torch.allclose((gradients[i] * direction).sum(), due, rtol=1e-5), (name, adjoint)
            tolerance = 1e-5 if isinstance(adjoint, Backsolve) else 1e-11
            assert torch.allclose(gradients[i], found[0][i], rtol=tolerance, atol=tolerance), (name, adjoint)


class Wrong(torch.autograd.Function):
    """Passes on a hundredth more."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return 1.01 * g


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=str)
def test_a_wrong_slope_is_noticed(adjoint):
    """The canary: of rates that are off by 1 in 100, the finite differences say so."""
    problem = Problem()
    right, rates = problem.slope, problem.given["args"]
    problem.slope = lambda t, y, args: right(t, y, {**args, "rates": Wrong.apply(args["rates"] * 1.0)})
    due, direction = problem.difference("args")
    if isinstance(adjoint, Forward):  # in forward mode there is no such rule: the operation is refused
        with pytest.raises(RuntimeError):
            problem.loss(adjoint)
        return
    assert not torch.allclose((torch.autograd.grad(problem.loss(adjoint), rates)[0] * direction).sum(), due, rtol=5e-3)


def test_forward_and_discrete_are_the_same_at_coarse_steps_and_backsolve_is_not():
    problem = Problem()
    wrt = list(problem.given.values())
    options = {"controller": Fixed(0.4), "solver": Dopri5()}
    discrete, forward, backsolve = (
        torch.autograd.grad(problem.loss(adjoint, **options), wrt)
        for adjoint in (Discrete(), Forward(), Backsolve(controller=TIGHT))
    )
    assert all(torch.allclose(a, b, rtol=1e-11) for a, b in zip(discrete, forward, strict=True))
    assert not any(torch.allclose(a, b, rtol=1e-4) for a, b in zip(discrete, backsolve, strict=True))


def test_forward_in_torch_func():
    f = lambda rates, adjoint: solve(lotka_volterra, Y, TS, [*rates, 1.0], controller=TIGHT, adjoint=adjoint).ys
    due = torch.autograd.functional.jacobian(lambda rates: f(rates, Discrete()), RATES)
    assert torch.allclose(jacfwd(lambda rates: f(rates, Forward()))(RATES), due, rtol=1e-9, atol=1e-12)
    v = tensor(0.3, -0.1, 0.2)
    assert torch.allclose(jvp(lambda rates: f(rates, Forward()), (RATES,), (v,))[1], due @ v, rtol=1e-9)


@pytest.mark.parametrize("adjoint", [Forward(), Backsolve()], ids=str)
def test_a_tensor_that_is_made_of_another_counts_once(adjoint):
    p = tensor(0.5)[0].requires_grad_()
    q = p.exp()
    y = solve(lambda t, y, args: -p * q * y, Y, (0.0, 1.0), controller=TIGHT, adjoint=adjoint).ys[-1].sum()
    due = -(p + 1) * q * (-p * q).exp() * Y.sum()
    assert torch.allclose(torch.autograd.grad(y, p)[0], due, rtol=1e-7)


@pytest.mark.parametrize("adjoint", [Forward(), Backsolve()], ids=str)
def test_a_parameter_that_comes_into_play_later(adjoint):
    p = tensor(0.5)[0].requires_grad_()
    f = lambda t, y, args: -y if t < 1.0 else -p * y
    y = solve(f, tensor(1.0), (0.0, 1.0, 2.0), controller=TIGHT, adjoint=adjoint).ys[-1].sum()
    assert torch.allclose(torch.autograd.grad(y, p)[0], -(-1 - p).exp(), rtol=1e-6)


class Times(torch.autograd.Function):
    """A product that is shown to nobody, as one in another language would be."""

    @staticmethod
    def forward(ctx, y, w):
        ctx.save_for_backward(y, w)
        with torch._C.DisableTorchFunction():
            return y * w

    @staticmethod
    def backward(ctx, g):
        y, w = ctx.saved_tensors
        return g * w, (g * y).sum()


@pytest.mark.parametrize("leaf", [True, False])
@pytest.mark.parametrize("also_shown", [True, False])
def test_a_tensor_that_no_operation_shows_is_refused(leaf, also_shown):
    weight = tensor(0.5)[0].requires_grad_()
    hidden = weight if leaf else weight * 1.0
    f = lambda t, y, args: -Times.apply(y, hidden) + (0.0 * hidden if also_shown else 0.0)
    run = lambda adjoint: solve(f, Y, (0.0, 1.0), controller=TIGHT, adjoint=adjoint).ys[-1].sum()
    with pytest.raises(ValueError, match=r"no operation shows.*use Discrete\(\)"):
        run(Forward())
    if also_shown:
        known = run(Backsolve())
    else:
        with pytest.raises(ValueError, match=r"name it in Backsolve\(using=\(\.\.\.\)\)"):
            run(Backsolve())
        known = run(Backsolve(using=(hidden,)))
    assert torch.allclose(torch.autograd.grad(known, weight)[0], -Y.sum() * torch.exp(-weight.detach()), rtol=1e-7)


def test_what_shows_up_only_on_the_way_back_is_refused():
    p, late = tensor(0.5)[0].requires_grad_(), tensor(0.5)[0].requires_grad_()
    used = [p]
    y = solve(lambda t, y, args: -used[0] * y, tensor(1.0), (0.0, 2.0), adjoint=Backsolve()).ys[-1]
    used[0] = late
    with pytest.raises(ValueError, match="hadn't used on the way there"):
        y.sum().backward()


@pytest.mark.parametrize("adjoint", [Forward(), Backsolve()], ids=str)
def test_second_derivatives_are_refused(adjoint):
    problem = Problem()
    with pytest.raises(NotImplementedError, match=r"no second derivatives .*use Discrete\(\)"):
        torch.autograd.grad(problem.loss(adjoint), problem.given["y0"], create_graph=True)


def test_refusals():
    with pytest.raises(NotImplementedError, match=r"use Discrete\(\), or Forward\(\)"):
        torch.func.grad(lambda y0: solve(lotka_volterra, y0, TS, [*RATES, 1.0], adjoint=Backsolve()).ys.sum())(Y)
    with pytest.raises(ValueError, match="16 numbers can be differentiated by, more than most=8"):
        Problem().loss(Forward(most=8))
    y0 = torch.ones(1, dtype=torch.complex128, requires_grad=True)
    with pytest.raises(NotImplementedError, match="complex"):
        solve(lambda t, y, args: 1j * y, y0, (0.0, 1.0), adjoint=Forward())


def test_complex_states_backsolve():
    rate = torch.tensor(0.3 + 0.5j, dtype=torch.complex128, requires_grad=True)
    y0 = torch.tensor([1.0 - 0.2j], dtype=torch.complex128, requires_grad=True)
    found = []
    for adjoint in (Discrete(), Backsolve()):
        y = solve(lambda t, y, args: rate * y, y0, (0.0, 1.0, 2.0), controller=TIGHT, adjoint=adjoint).ys
        found.append(torch.autograd.grad(torch.view_as_real(y).mul(tensor(1.0, 2.0)).square().sum(), (y0, rate)))
    assert all(torch.allclose(a, b, rtol=1e-7) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=str)
def test_a_sample_that_fails_leaves_the_others_gradients_alone(adjoint):
    """The solution is y = y0 / (1 - p y0 t)."""
    p = tensor(1.0)[0].requires_grad_()
    y0 = tensor(0.5, 1.0)[:, None].requires_grad_()
    options = {"controller": PID(1e-8, 1e-10), "max_steps": 60, "batched": True, "throw": False, "adjoint": adjoint}
    solution = solve(lambda t, y, args: p * y * y, y0, (0.0, 0.5, 1.5), **options)
    assert solution.status.tolist()[0] == 0 != solution.status.tolist()[1]
    of_y0, of_p = torch.autograd.grad(solution.ys[-1, 0].sum() + solution.ys[1].sum(), (y0, p))
    ends = [(y, t) for y, t in ((0.5, 0.5), (1.0, 0.5), (0.5, 1.5))]
    assert torch.allclose(of_p, tensor(sum(t * y * y / (1 - y * t) ** 2 for y, t in ends))[0], rtol=1e-6)
    assert torch.allclose(of_y0[0, 0], tensor(sum(1 / (1 - 0.5 * t) ** 2 for t in (0.5, 1.5)))[0], rtol=1e-6)
    assert torch.allclose(of_y0[1, 0], tensor(4.0)[0], rtol=1e-6)


def test_the_way_back_may_fail_and_says_so():
    """A decay of 60 is a growth of 60 on the way back: more steps than these."""
    y0 = tensor(1.0).requires_grad_()
    back = Backsolve(controller=PID(1e-10, 1e-12))
    y = solve(lambda t, y, args: -60.0 * y, y0, (0.0, 1.0), adjoint=back, max_steps=150).ys[-1]
    with pytest.raises(RuntimeError, match=r"way back stopped at t = .*more steps.*use Discrete\(\)"):
        y.sum().backward()


class Kept:
    """What a tape holds."""

    numbers = 0

    def __init__(self, x):
        self.x, self.size = x, x.numel()
        Kept.numbers += self.size

    def __del__(self):
        Kept.numbers -= self.size


@pytest.mark.parametrize(
    ("adjoint", "constant"), [(Backsolve(), True), (Discrete("tape", replay=True), False)], ids=str
)
def test_memory_of_the_way_back_is_constant(adjoint, constant):
    """No tensor is kept but the states that were asked for; of a tape (the canary) many are."""
    y0 = Y.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.x):
        solution = solve(lotka_volterra, y0, (0.0, 10.0), [1.5, 1.0, 3.0, 1.0], adjoint=adjoint)
    assert (Kept.numbers < 20) == constant
    del solution


@pytest.mark.parametrize("adjoint", [Forward(), Backsolve()], ids=str)
def test_nothing_to_differentiate(adjoint):
    with torch.no_grad():
        assert not Problem().loss(adjoint).requires_grad
    assert not solve(lotka_volterra, Y, TS, [*RATES, 1.0], adjoint=adjoint).ys.requires_grad
    with pytest.raises(SolveError):
        solve(lotka_volterra, Y, TS, [*RATES, 1.0], adjoint=adjoint, max_steps=3)


@pytest.mark.parametrize("adjoint", [Forward(), Backsolve()], ids=str)
def test_float32_stays_float32(adjoint):
    rates = RATES[:2].float().requires_grad_()
    ys = solve(lambda t, y, rates: -rates * y, Y.float(), TS, rates, adjoint=adjoint).ys
    assert ys.dtype == torch.autograd.grad(ys.sum(), rates)[0].dtype == torch.float32
