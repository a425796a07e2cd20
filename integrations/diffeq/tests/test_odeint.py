"""torchdiffeq's functions: its numbers and gradients on the same inputs, and scripts in the manner of its examples."""

import pytest
import torch
import torchdiffeq
from diffeq_problems import DTYPE, tensor
from torch import nn

from torchflux_diffeq import SolveError, odeint, odeint_adjoint, odeint_event

SUM = lambda t, y: y.sum()
BOTH = (odeint, torchdiffeq.odeint)
TS = torch.linspace(0.0, 1.5, 5, dtype=DTYPE)
FIXED = ["euler", "midpoint", "heun2", "heun3", "rk4"]
PERTURB = {"step_size": 0.4, "perturb": True}
ADAPTIVE = ["dopri8", "dopri5", "bosh3", "adaptive_heun", "fehlberg2"]


class Spiral(nn.Module):
    """A network of the state's cubes, whose time matters too."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        g = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(0.5 * torch.randn(p.shape, dtype=DTYPE, generator=g))

    def forward(self, t, y):
        return self.net(y**3) * torch.cos(t) - 0.3 * y


class Pair(nn.Module):
    """The same with a second part, as a tuple."""

    def __init__(self):
        super().__init__()
        self.spiral = Spiral()

    def forward(self, t, state):
        y, area = state
        return self.spiral(t, y), y.square().sum(-1) - 0.1 * area


def run(interface, func, y0, ts, **options):
    """States and gradients by everything."""
    y0 = tuple(x.clone().requires_grad_() for x in y0) if isinstance(y0, tuple) else y0.clone().requires_grad_()
    ts = ts.clone().requires_grad_()
    ys = interface(func, y0, ts, **options)
    leaves = [*(y0 if isinstance(y0, tuple) else (y0,)), ts, *func.parameters()]
    parts = ys if isinstance(ys, tuple) else (ys,)
    loss = sum((part**2).flatten(1).sum(1) @ torch.arange(len(ts), dtype=DTYPE) for part in parts)
    return parts, torch.autograd.grad(loss, leaves)


def compare(ours, theirs, func, y0, ts, tolerance, theirs_too=None, **options):
    found, due = run(ours, func, y0, ts, **options), run(theirs, func, y0, ts, **(options | (theirs_too or {})))
    for a, b in zip(found[0] + found[1], due[0] + due[1], strict=True):
        assert torch.allclose(a, b, rtol=tolerance, atol=tolerance), (a - b).abs().max()


Y = torch.stack([tensor(2.0, 0.0), tensor(0.5, -1.0), tensor(0.1, 0.2)])
AREA = tensor(0.1, 0.2, 0.3)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("options", [{}, {"step_size": 0.2}, {"step_size": 0.2, "interp": "cubic"}, PERTURB], ids=str)
@pytest.mark.parametrize("method", FIXED)
def test_fixed_methods_make_torchdiffeqs_steps(method, options, backward):
    ts = 1.5 - TS if backward else TS
    compare(odeint, torchdiffeq.odeint, Spiral(), Y, ts, 1e-10, method=method, options=options)


def test_a_grid_of_ones_own_and_tuples():
    grid = {"grid_constructor": lambda f, y, t: torch.cat([t[:1], t[0] + (t[-1] - t[0]) * tensor(0.1, 0.4), t[-1:]])}
    compare(odeint, torchdiffeq.odeint, Pair(), (Y, AREA), TS, 1e-10, method="rk4", options=grid)


@pytest.mark.parametrize("method", FIXED)
def test_perturbed_steps_see_one_side_of_a_jump(method):
    """Each step's slopes are those within it, so a jump between two steps is exact for a slope that is constant."""
    f = lambda t, y: torch.where(t < 0.5, 1.0, -3.0) + 0 * y
    for ts in (tensor(0.0, 0.5, 1.0), tensor(1.0, 0.5, 0.0)):
        found, due = ((way(f, tensor(0.0), ts, method=method, options={"perturb": True})) for way in BOTH)
        assert torch.equal(found, due)
        assert torch.allclose(found[-1].abs(), tensor(1.0), rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("interp", ["linear", "cubic"])
def test_fixed_steps_to_an_event(interp, reverse):
    """In torchdiffeq's steps, by its interpolation: the time is that of its bisection, to its tolerance."""
    func, found = Spiral(), []
    options = {"method": "rk4", "options": {"step_size": 0.1, "interp": interp}, "atol": 1e-12, "rtol": 1e-12}
    event_fn = lambda t, y: y[..., 1] + (-1.0 if reverse else 0.3) * t
    for event, way in ((odeint_event, odeint), (torchdiffeq.odeint_event, torchdiffeq.odeint)):
        y0 = tensor(0.5, -0.6).requires_grad_()
        t, ys = event(
            func, y0, tensor(0.1)[0], event_fn=event_fn, reverse_time=reverse, odeint_interface=way, **options
        )
        leaves = (y0, *func.parameters())
        found.append(
            [t, ys, *torch.autograd.grad(t, leaves, retain_graph=True), *torch.autograd.grad(ys.sum(), leaves)]
        )
    assert 0.2 < abs(found[1][0] - 0.1) < 3.0
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-9), (a - b).abs().max()


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_methods(method, backward):
    crude = {"rtol": 1e-5, "atol": 1e-6} if method == "adaptive_heun" else {"rtol": 1e-5, "atol": 1e-7}
    given = {"method": method} | ({} if method.startswith("dopri") else crude)
    ts = 1.5 - TS if backward else TS
    precise = {"method": "dopri5", "rtol": 1e-9, "atol": 1e-11}
    tolerance = 1e-5 if method.startswith("dopri") else 5e-3
    compare(odeint, torchdiffeq.odeint, Spiral(), Y, ts, tolerance, precise, **given)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize("state", [Y, (Y, AREA)], ids=["tensor", "tuple"])
def test_adjoint(state, method):
    func = Pair() if isinstance(state, tuple) else Spiral()
    options = {"options": {"step_size": 0.05}} if method == "rk4" else {}
    tolerance = 5e-4 if method == "rk4" else 1e-6  # of the first time, of which torchdiffeq has another formula
    compare(odeint_adjoint, torchdiffeq.odeint_adjoint, func, state, TS, tolerance, method=method, **options)


def test_a_wrong_tableau_is_noticed():
    """The canary: the classical rule isn't the 3/8 rule, to the tolerance above."""
    from torchflux_diffeq import RK4, Fixed, solve

    due = torchdiffeq.odeint(Spiral(), Y, TS, method="rk4", options={"step_size": 0.375})
    classical = solve(lambda t, y, args: Spiral()(t, y), Y, TS, solver=RK4(), controller=Fixed(0.375)).ys
    assert torch.allclose(odeint(Spiral(), Y, TS, method="rk4"), due, rtol=1e-10)
    assert not torch.allclose(classical, due, rtol=1e-10, atol=1e-10)


def test_adjoint_needs_no_module_and_takes_params_and_another_method():
    p, q = tensor(0.5)[0].requires_grad_(), tensor(0.2)[0].requires_grad_()
    f = lambda t, y: -p * y + q
    found = []
    given = {"adjoint_params": (p, q), "adjoint_method": "rk4", "adjoint_options": {"step_size": 0.01}}
    for interface, options in ((odeint_adjoint, {}), (odeint_adjoint, given), (torchdiffeq.odeint_adjoint, given)):
        ys = interface(f, tensor(1.0, 2.0), TS, **options)
        found.append(torch.autograd.grad(ys.square().sum(), (p, q)))
    for other in found[1:]:
        assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(found[0], other, strict=True))


def test_steps_of_the_way_back_are_torchdiffeqs():
    """The first state's gradient to rounding; the parameters' is a quadrature of another kind."""
    func, first = Spiral(), []
    for interface in (odeint_adjoint, torchdiffeq.odeint_adjoint):
        y0 = Y.clone().requires_grad_()
        first += torch.autograd.grad(interface(func, y0, TS, method="rk4").square().sum(), y0)
    assert torch.allclose(*first, rtol=1e-11, atol=1e-12)


def test_what_the_function_does_not_use_gets_zeros_from_the_adjoint_and_nothing_from_odeint():
    """As in torchdiffeq."""
    for interface in (odeint_adjoint, torchdiffeq.odeint_adjoint, odeint, torchdiffeq.odeint):
        func = Spiral()
        func.idle = nn.Parameter(tensor(1.0))
        interface(func, Y, TS).sum().backward()
        assert func.idle.grad == 0.0 if "adjoint" in interface.__name__ else func.idle.grad is None
        assert all(p.grad.abs().max() > 0 for p in func.net.parameters())


def test_options():
    seen = []

    def norm(x):
        seen.append(x.shape)
        return x.abs().max()

    f = Spiral()
    options = {"norm": norm, "first_step": 0.01, "max_step": 0.1, "safety": 0.8, "ifactor": 3.0, "dfactor": 0.3}
    ys = odeint(f, Y, TS, options=options)
    assert torch.allclose(ys, torchdiffeq.odeint(f, Y, TS, method="dopri5", options=options), rtol=1e-6, atol=1e-8)
    assert set(seen) == {(3, 2)}
    parts = odeint(Pair(), (Y, AREA), TS, rtol=(1e-8, 1e-6), atol=(1e-9, 1e-7))
    assert torch.allclose(parts[0], ys, atol=1e-6)
    with pytest.raises(SolveError, match="max_steps"):
        odeint(f, Y, TS, options={"max_num_steps": 2})
    assert torch.equal(odeint(f, Y, TS[:1]), Y[None])


@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_jumps(interface):
    """A slope that jumps: exact where the jumps are known, on either side of them."""
    slope = lambda t, y: torch.where(t < 0.5, -1.0, torch.where(t < 1.0, 2.0, -3.0)) * y
    for ts in (TS, TS.flip(0)):
        rate = tensor(1.0).requires_grad_()
        f = lambda t, y, rate=rate: rate * slope(t, y)
        ys = interface(f, tensor(1.0), ts, options={"jump_t": tensor(0.5, 1.0)})
        area = lambda t: -t.clamp(max=0.5) + 2 * (t.clamp(0.5, 1.0) - 0.5) - 3 * (t.clamp(min=1.0) - 1.0)
        due = torch.exp(area(ts) - area(ts[0]))
        assert torch.allclose(ys[:, 0], due, rtol=1e-6)
        (g,) = torch.autograd.grad(ys[-1].sum(), rate)
        assert torch.allclose(g, due[-1] * (area(ts[-1]) - area(ts[0])), rtol=1e-6)


@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
@pytest.mark.parametrize("method", ["implicit_adams", "scipy_solver"])
def test_other_methods_are_torchdiffeqs_and_scipys(method, interface):
    options = {"step_size": 0.01} if method == "implicit_adams" else {}
    f = Spiral()
    ys = interface(f, Y, TS, method=method, options=options)
    due = torchdiffeq.odeint(f, Y, TS, method="dopri5", rtol=1e-10, atol=1e-12)
    assert torch.allclose(ys, due, atol=1e-4)
    loss = lambda ys: torch.autograd.grad(ys.square().sum(), list(f.parameters()))
    assert all(torch.allclose(a, b, rtol=2e-3, atol=1e-4) for a, b in zip(loss(ys), loss(due), strict=True))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "rk5"}, ValueError, "one of dopri8, dopri5"),
        ({"method": "rk4", "options": {"step_sise": 0.1}}, NotImplementedError, "step_sise"),
        ({"method": "rk4", "options": {"step_size": 0.0}}, ValueError, "positive"),
        ({"method": "rk4", "event_fn": SUM, "t": TS[:2]}, ValueError, "pass options={'step_size'"),
        ({"method": "euler", "t": 9 * TS, "func": lambda t, y: y**9}, RuntimeError, "isn't finite at t = 13.5"),
        ({"method": "scipy_solver", "event_fn": SUM, "t": TS[:2]}, NotImplementedError, "use 'dopri5'"),
        ({"options": {"dtype": torch.float32}}, NotImplementedError, "leave it out"),
        ({"method": "rk4", "options": {"step_size": 0.1, "grid_constructor": print}}, ValueError, "one of them"),
        ({"method": "rk4", "options": {"interp": "quartic"}}, ValueError, "linear"),
        ({"options": {"min_step": 0.1}}, NotImplementedError, "min_step"),
        ({"rtol": -1.0}, ValueError, "isn't negative"),
        ({"rtol": (1e-3, 1e-3)}, ValueError, "2 tolerances"),
        ({"t": tensor(0.0, 2.0, 1.0)}, ValueError, r"t\[1\] = 2 is followed by 1"),
        ({"t": tensor(0.0, 1.0, 1.0), "method": "rk4"}, ValueError, "strictly"),
        ({"t": torch.tensor([0, 1])}, TypeError, "floating-point"),
        ({"t": TS, "event_fn": SUM}, ValueError, "5 times"),
        ({"y0": tensor(float("nan"), 0.0)}, ValueError, "NaN"),
    ],
)
def test_bad_input(arguments, error, message):
    given = {"func": Spiral(), "y0": Y[0], "t": TS, **arguments}
    with pytest.raises(error, match=message):
        odeint(given.pop("func"), given.pop("y0"), given.pop("t"), **given)


def test_bad_adjoint_options():
    with pytest.raises(NotImplementedError, match="seminorm"):
        odeint_adjoint(Spiral(), Y, TS, adjoint_options={"norm": max})
    with pytest.raises(ValueError, match="pass adjoint_options"):
        odeint_adjoint(Spiral(), Y, TS, options={"first_step": 0.1}, adjoint_method="rk4")
    with pytest.raises(NotImplementedError, match=r"adjoint_\.\.\. out"):
        odeint_adjoint(Spiral(), Y, TS, method="scipy_solver", adjoint_rtol=1e-3)
    with pytest.raises(NotImplementedError, match="adjoint_method='scipy_solver'"):
        odeint_adjoint(Spiral(), Y, TS, adjoint_method="scipy_solver")
    with pytest.raises(NotImplementedError, match="grid_constructor"):
        odeint_adjoint(Spiral(), Y, TS, method="rk4", options={"grid_constructor": lambda f, y, t: t})
    called = Spiral()
    called.callback_step = print
    with pytest.raises(NotImplementedError, match="callback_step"):
        odeint(called, Y, TS)


class BouncingBall(nn.Module):
    """torchdiffeq's example in structure: gravity and restitution are parameters, the bounces are events."""

    def __init__(self, gravity=9.8, absorption=0.4, radius=0.0):
        super().__init__()
        self.gravity = nn.Parameter(torch.as_tensor([gravity], dtype=DTYPE))
        self.log_radius = nn.Parameter(torch.as_tensor([radius], dtype=DTYPE))
        self.absorption = nn.Parameter(torch.as_tensor([absorption], dtype=DTYPE))
        self.t0 = nn.Parameter(torch.tensor([0.0], dtype=DTYPE))
        self.init_pos = nn.Parameter(torch.tensor([10.0], dtype=DTYPE))
        self.init_vel = nn.Parameter(torch.tensor([0.0], dtype=DTYPE))

    def forward(self, t, state):
        _, vel, radius = state
        return vel, -self.gravity, torch.zeros_like(radius)

    def event_fn(self, t, state):
        return state[0] - torch.exp(state[2])

    def bounces(self, event, interface, n=2):
        times, state, t0 = [], (self.init_pos, self.init_vel, self.log_radius), self.t0
        for _ in range(n):
            t, solution = event(
                self,
                state,
                t0,
                event_fn=self.event_fn,
                reverse_time=False,
                odeint_interface=interface,
                atol=1e-8,
                rtol=1e-8,
            )
            pos, vel, radius = (s[-1] for s in solution)
            state, t0 = (pos + 1e-7, -vel * (1 - self.absorption), radius), t
            times.append(t.reshape(()))
        return times


@pytest.mark.parametrize("name", ["odeint", "odeint_adjoint"])
def test_bouncing_ball(name):
    ours, theirs = {"odeint": odeint, "odeint_adjoint": odeint_adjoint}[name], getattr(torchdiffeq, name)
    ball = BouncingBall()
    found, due = ball.bounces(odeint_event, ours), ball.bounces(torchdiffeq.odeint_event, theirs)
    fall = 9.0  # 10 less the radius
    first = (2 * fall / 9.8) ** 0.5
    assert torch.allclose(torch.stack(found).detach(), tensor(first, first * (1 + 2 * 0.6)), atol=1e-5)
    wrt = [ball.gravity, ball.absorption, ball.init_pos, ball.init_vel, ball.log_radius]
    mine, others = (torch.autograd.grad(ts[-1], wrt, retain_graph=True) for ts in (found, due))
    assert all(torch.allclose(a, b, rtol=1e-4) for a, b in zip(mine, others, strict=True))
    (of_gravity,) = torch.autograd.grad(found[0], ball.gravity)
    assert torch.allclose(of_gravity, tensor(-0.5 * first / 9.8), rtol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_event_gradients_also_of_the_event_functions_parameters(interface, reverse):
    """A decay to a level: t = log(y0 / level) / rate, and the state there is the level."""
    sign = -1.0 if reverse else 1.0
    y0, level, t0 = tensor(2.0).requires_grad_(), tensor(0.5)[0].requires_grad_(), tensor(0.3)[0].requires_grad_()
    rate = tensor(0.7)[0].requires_grad_()
    event_fn = lambda t, y: torch.stack([y[0] - level, t * 0.0 + 50.0])
    options = {"event_fn": event_fn, "reverse_time": reverse, "odeint_interface": interface}
    t, ys = odeint_event(lambda t, y: -sign * rate * y, y0, t0, **options)
    wrt = (y0, level, rate, t0)
    exact = t0 + sign * torch.log(y0[0] / level) / rate
    assert torch.allclose(t, exact, rtol=1e-7)
    found = torch.autograd.grad(t, wrt, retain_graph=True)
    assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(found, torch.autograd.grad(exact, wrt), strict=True))
    of_state = torch.autograd.grad(ys[-1].sum(), wrt, allow_unused=True, retain_graph=True)
    assert torch.allclose(of_state[1], tensor(1.0)[0], rtol=1e-6)
    assert all(of_state[i] is None or of_state[i].abs().max() < 1e-6 for i in (0, 2, 3))
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        torch.autograd.grad(t, level, create_graph=True)


def test_an_event_at_the_start_is_the_start():
    t, ys = odeint_event(lambda t, y: y, tensor(0.0), tensor(0.3)[0], event_fn=lambda t, y: y[0])
    assert t == 0.3
    assert ys.shape == (2, 1)
    with pytest.raises(RuntimeError, match="doesn't become zero"):
        odeint_event(lambda t, y: 0 * y, tensor(1.0), tensor(0.3)[0], event_fn=lambda t, y: y[0])


def test_ode_demo():
    """Its loop: batches of short pieces, a network of cubes, RMSprop."""
    true_a = tensor(-0.1, 2.0, -2.0, -0.1).view(2, 2)
    t = torch.linspace(0.0, 2.0, 20, dtype=DTYPE)
    with torch.no_grad():
        true_y = odeint(lambda t, y: torch.mm(y**3, true_a), tensor(2.0, 0.0)[None], t, method="dopri5")
    func = Spiral()
    optimizer = torch.optim.RMSprop(func.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        pred_y = odeint_adjoint(func, true_y[:15:3], t[:5], rtol=1e-4, atol=1e-5)
        target = torch.stack([true_y[i : 15 + i : 3] for i in range(5)])
        loss = (pred_y - target).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


class CNF(nn.Module):
    """Its continuous normalising flow: the density's change is a trace, computed within the slope."""

    def __init__(self):
        super().__init__()
        self.net = Spiral()

    def forward(self, t, states):
        z, _ = states
        with torch.set_grad_enabled(True):
            z.requires_grad_(True)
            dz_dt = self.net(t, z)
            trace = sum(
                torch.autograd.grad(dz_dt[:, i].sum(), z, create_graph=True)[0][:, i] for i in range(z.shape[1])
            )
        return dz_dt, -trace.view(len(z), 1)


@pytest.mark.parametrize("name", ["odeint", "odeint_adjoint"])
def test_cnf(name):
    ours, theirs = {"odeint": odeint, "odeint_adjoint": odeint_adjoint}[name], getattr(torchdiffeq, name)
    func = CNF()
    found = []
    for interface in (ours, theirs):
        z, logp = interface(
            func, (Y, torch.zeros(3, 1, dtype=DTYPE)), tensor(1.0, 0.0), atol=1e-7, rtol=1e-7, method="dopri5"
        )
        loss = (z[-1].square().sum(-1, keepdim=True) / 2 + logp[-1]).mean()
        found.append([loss, *torch.autograd.grad(loss, list(func.parameters()), allow_unused=True)])
    for a, b in zip(*found, strict=True):
        b = torch.zeros_like(a) if b is None and a is not None else b
        a = torch.zeros_like(b) if a is None and b is not None else a
        assert a is b is None or torch.allclose(a, b, rtol=1e-4, atol=1e-5), (a - b).abs().max()


def test_latent_ode():
    """In structure: an encoder gives the first state, a decoder reads the path, all in float32."""
    torch.manual_seed(0)
    encoder, field, decoder = (
        nn.Linear(6, 4),
        nn.Sequential(nn.Linear(4, 8), nn.ELU(), nn.Linear(8, 4)),
        nn.Linear(4, 2),
    )
    data = torch.randn(5, 6)
    found = []
    for interface in (odeint, torchdiffeq.odeint):
        pred_z = interface(lambda t, x: field(x), encoder(data), torch.linspace(0.0, 1.0, 7)).permute(1, 0, 2)
        loss = decoder(pred_z).square().mean()
        found.append(torch.autograd.grad(loss, [*encoder.parameters(), *field.parameters(), *decoder.parameters()]))
    for a, b in zip(*found, strict=True):
        assert a.dtype == torch.float32
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)
