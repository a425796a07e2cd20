"""Each rule against finite differences, in both modes and twice; torch functions against PyTorch's autograd."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torchflux_zygote import adjoint, gradient, hessian, pushforward

from .derivatives import check, close, differences

M = np.array([[2.0, 0.5, 0.1], [0.3, 1.5, 0.2], [0.15, 0.4, 1.2]])
V = np.array([0.5, 1.5, 0.7])
T = torch.tensor([[0.5, 1.5, 0.7], [0.2, 0.9, 1.1]], dtype=torch.float64)

SCALAR = {
    **dict.fromkeys(
        [
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
            "tanh",
            "asinh",
            "atanh",
            "exp",
            "expm1",
            "log",
            "log2",
            "log10",
        ],
        0.6,
    ),
    **dict.fromkeys(["log1p", "sqrt", "erf", "erfc", "lgamma", "gamma", "degrees", "radians", "fabs"], 0.6),
    "acosh": 1.6,
    **({"cbrt": 0.6, "exp2": 0.6} if hasattr(math, "cbrt") else {}),
}


@pytest.mark.parametrize("name", SCALAR)
def test_math_functions(name):
    f = getattr(math, name)
    check(lambda x: f(x) * x, SCALAR[name])


@pytest.mark.parametrize("f", [math.atan2, math.hypot, math.fmod, math.pow, math.copysign, max, min, math.remainder])
def test_math_functions_of_two(f):
    check(lambda x, y: f(x, y) * x, 1.7, 0.6)


def test_operators_of_floats():
    check(lambda x, y: (x + y) * (x - y) / (x * y) + x**y + x % y + -x + (+y) + x // y + 2**x + x**3, 1.7, 0.6)
    check(
        lambda x: math.log(x, 3.0) + math.dist([x, 1.0], [2.0, x]) + math.fsum([x, x * x]) + math.hypot(x, 2.0, x), 1.7
    )
    check(lambda x: abs(complex(x, x * x)) + (complex(1.0, x) * complex(x, 2.0)).real, 1.7)


NUMPY = {
    "elementwise": lambda m: np.sum(np.sin(m) * np.exp(-m) + np.tanh(m) / np.sqrt(m) + np.log1p(m) ** 2 - np.square(m)),
    "two": lambda m: np.sum(np.maximum(m, 0.45) * np.minimum(m, 1.1) + np.arctan2(m, 2.0) + np.hypot(m, m.T)),
    "reductions": lambda m: (m.sum(axis=0) * m.mean(1) * m.prod(axis=0)).sum() + m.var() + m.std(axis=1, ddof=1).sum(),
    "extremes": lambda m: m.max() * m.min() + np.max(m, axis=0).sum() * np.amin(m, axis=1, keepdims=True).sum(),
    "shapes": lambda m: (m.reshape(9)[::2] * m.T.ravel()[1:6]).sum() + (np.transpose(m) @ m.swapaxes(0, 1))[0, 1],
    "joining": lambda m: (np.concatenate([m, m * m], 1)[:, 2:5] * np.stack([m, m.T], 2)[..., 0]).sum(),
    "stacks": lambda m: (np.hstack([m[0], m[1]]) * np.vstack([m[:1], m[1:2]]).ravel()).sum(),
    "linear algebra": lambda m: np.linalg.solve(m, m[0]).sum() + np.linalg.inv(m)[0, 1] * np.linalg.det(m),
    "norms": lambda m: np.linalg.norm(m) * np.linalg.norm(m, axis=0).sum() + np.linalg.norm(m[0], 1),
    "products": lambda m: (
        np.dot(m, m)[0, 0] + m.dot(m[0])[1] + np.outer(m[0], m[1]).sum() + np.inner(m[0], m[2]) * np.trace(m)
    ),
    "einsum": lambda m: np.einsum("ij,jk->ik", m, m)[0, 1] + np.einsum("ij,i->", m, m[0]) * np.einsum("ij->j", m)[1],
    "where": lambda m: (np.where(m > 0.45, m, m * m) * np.clip(m, 0.25, 1.4)).sum(),
    "making": lambda m: (
        (np.array([m[0, 0], m[1, 1] * 2.0, 1.0]) * np.array([m[0], m[1]])).sum() * np.full(2, m[0, 1])[0]
    ),
    "others": lambda m: (
        np.cumsum(m, 0)[2, 1] + np.roll(m, 1, 0)[0, 0] * np.flip(m)[0, 0] + np.tril(m).sum() * np.diag(m)[1]
    ),
    "broadcasting": lambda m: (m * m[0] + m[:, None, 0] - np.expand_dims(m[1], 1) / m[:1]).sum() + (m[0] @ m @ m[:, 1]),
    "conversions": lambda m: (
        m[0, 0].item() * float(m[0, 1]) + m.tolist()[1][2] * m.astype(np.float64)[1, 1] + m.item(4)
    ),
    "linspace": lambda m: (np.linspace(m[0, 0], m[1, 1], 4) ** 2).sum() + (m.copy() * np.repeat(m[:, :1], 3, 1)).sum(),
}


@pytest.mark.parametrize("name", NUMPY)
def test_numpy_functions(name):
    check(NUMPY[name], M.copy())


TORCH = {
    "elementwise": lambda t: (
        t.sin() * torch.exp(-t) + t.tanh() / t.sqrt() + torch.sigmoid(t) ** 2 + t.abs().log()
    ).sum(),
    "reductions": lambda t: (
        (t.sum(0) * t.mean(dim=0, keepdim=True)).sum() + t.sum(dim=(0, 1)) * torch.mean(t) + t.var()
    ),
    "shapes": lambda t: (
        (t.reshape(3, 2) @ t.view(2, 3)).T.flatten()[1:4].sum() * t.unsqueeze(0).squeeze(0).permute(1, 0)[0, 1]
    ),
    "joining": lambda t: (
        torch.cat([t, t * t], 1)[:, 2:5].prod() + torch.stack((t, t), dim=-1)[..., 1].sum() * t.unbind(1)[0].sum()
    ),
    "softmax": lambda t: (torch.softmax(t, 1) * t).sum() + torch.log_softmax(t, dim=0)[0, 0] + F.softplus(t).sum(),
    "layers": lambda t: F.linear(t, t, t[0, :2]).sum() + F.gelu(t).sum() + F.mse_loss(t, t * t) + F.silu(t).sum(),
    "matrices": lambda t: (
        (t @ t.mT).det() + torch.linalg.inv(t @ t.T + torch.eye(2, dtype=t.dtype))[0, 1] + torch.linalg.norm(t)
    ),
    "where": lambda t: (
        torch.where(t > 0.8, t, t * t).sum() + torch.clamp(t, 0.3, 1.0).sum() + torch.maximum(t, t * t).sum()
    ),
    "making": lambda t: (
        torch.tensor([t[0, 0].item(), 2.0], dtype=torch.float64).sum() + torch.stack([t[0, 1], t[1, 1]]).prod()
    ),
    "two results": lambda t: (
        t.max(dim=1).values.prod() + torch.sort(t, dim=1)[0][0, 1] * torch.topk(t[0], 2).values.sum()
    ),
    "einsum": lambda t: torch.einsum("ij,kj->ik", t, t)[0, 1] + torch.cumsum(t, 1)[0, 2] * torch.logsumexp(t, 1).sum(),
    "conversions": lambda t: (
        float(t[0, 1]) * t[0, 0].item() + t.to(torch.float64).sum() + t.clone().expand(2, 2, 3).sum()
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_functions(name):
    check(TORCH[name], T.clone())


FUNCTIONS = [
    *(
        torch.sin,
        torch.log,
        torch.relu,
        F.relu,
        F.leaky_relu,
        F.elu,
        F.softsign,
        torch.erf,
        torch.digamma,
        torch.square,
    ),
    *(F.hardtanh, torch.cumprod, torch.logcumsumexp, torch.softmax, torch.std, F.layer_norm, F.normalize, F.gelu),
]


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_torch_functions_equal_autograd(f):
    more = {"cumprod": (1,), "logcumsumexp": (1,), "softmax": (0,), "layer_norm": ((3,),)}.get(f.__name__, ())
    x = T.clone().requires_grad_()
    (f(x, *more) * x).sum().backward()
    (found,) = gradient(lambda t: (f(t, *more) * t).sum(), T)
    torch.testing.assert_close(found, x.grad)


CLASSES = torch.tensor([1, -100])  # the second doesn't count
CALLS = {
    "classes": lambda t: F.cross_entropy(t, CLASSES),
    "classes summed": lambda t: F.cross_entropy(t, CLASSES, reduction="sum"),
    "classes by name": lambda t: F.cross_entropy(input=t, target=CLASSES),
    "smoothed classes": lambda t: F.cross_entropy(t, CLASSES, label_smoothing=0.1),
    "shares of classes": lambda t: F.cross_entropy(t, torch.softmax(2 * t, 1)),
    "one sample": lambda t: F.cross_entropy(t[0], CLASSES[0]),
    "squares": lambda t: F.mse_loss(t, t * t),
    "squares summed": lambda t: F.mse_loss(t, t * t, reduction="sum"),
    "relu with its option": lambda t: (F.relu(t - 0.8, False) * t).sum() + F.relu(input=t).sum(),
    "linear, of a vector": lambda t: (F.linear(t[0], t, t[:, 0]) ** 2).sum(),
    "linear, of a batch of matrices": lambda t: (F.linear(torch.stack([t, t * t]), t, t[:, 1]) ** 2).sum(),
    "linear, with a vector": lambda t: (F.linear(torch.stack([t, t * t]), t[0]) ** 2).sum(),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("f", CALLS.values(), ids=CALLS)
def test_torch_calls_equal_autograd(f, dtype):
    x = T.clone().to(dtype).requires_grad_()
    f(x).backward()
    (found,) = gradient(f, T.to(dtype))
    torch.testing.assert_close(found, x.grad)


@pytest.mark.parametrize("f", [CALLS["classes"], CALLS["squares"]])
def test_losses_have_second_derivatives(f):
    torch.testing.assert_close(hessian(f, T), torch.func.hessian(f)(T))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype):
    (g,) = gradient(lambda t: ((t * 2.0 + 1) @ t.T).sin().sum(), T.to(dtype))
    assert g.dtype == dtype
    (a,) = gradient(lambda m: np.sum(np.tanh(m * 2.0) @ m), M.astype(np.float32))
    assert a.dtype == np.float32


def test_modules():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    (grads,) = gradient(lambda m: (m(T) ** 2).mean(), model)
    (model(T) ** 2).mean().backward()
    for path, p in model.named_parameters():
        torch.testing.assert_close(grads[path], p.grad)
    assert grads[0].weight is grads["0.weight"]


class Own(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(3, 3)
        self.scale = torch.nn.Parameter(torch.ones(3))
        self.parts = torch.nn.ModuleList([torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)])

    def forward(self, x):
        h = torch.tanh(self.inner(x)) * self.scale
        for part in self.parts:
            h = h + part(h) * self.scale
        return h.sum() * list(self.parameters())[0].sum()  # noqa: RUF015


def test_modules_of_ones_own():
    torch.manual_seed(0)
    model = Own().double()
    (grads,) = gradient(lambda m: m(T), model)
    model(T).backward()
    for path, p in model.named_parameters():
        torch.testing.assert_close(grads[path], p.grad)


class Counting(torch.nn.Module):
    """A module whose calls change its buffers."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3, dtype=torch.float64)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        self.count += 1
        return (self.norm(x) ** 2 * self.count * torch.arange(3.0)).sum()


def test_forward_mode_runs_modules_once():
    model, twin = Counting(), Counting()
    direction = torch.ones_like(T) + T.cos()
    for _ in range(2):
        y = T.clone().requires_grad_()
        twin(y).backward()
        tangent = pushforward(model, T)(direction)
        torch.testing.assert_close(tangent, (y.grad * direction).sum())
    for name, x in twin.named_buffers():
        torch.testing.assert_close(model.get_buffer(name), x)


def test_forward_mode_of_options_in_place_and_of_lists():
    def f(t):
        t = t.clone()
        t.addcmul_(t, t, value=0.5)
        t.clamp_(min=0.3, max=2.0)
        a, b = t[0].tolist()[:2]
        return (t * t).sum() + a * b * torch.arange(3).tolist()[2]

    check(f, T)


def test_ties_are_those_of_pytorch():
    x = torch.tensor([1.0, 1.0, 0.0])
    for f in (
        lambda t: t.max(),
        lambda t: t.abs().sum(),
        lambda t: torch.relu(t).sum(),
        lambda t: torch.maximum(t, t.flip(0)).sum(),
    ):
        y = x.clone().requires_grad_()
        f(y).backward()
        torch.testing.assert_close(gradient(f, x)[0], y.grad)
    assert gradient(abs, 0.0) == (0.0,)
    assert gradient(max, 1.0, 1.0) == (1.0, None)


def test_infinite_slopes_are_those_of_arrays():
    assert gradient(math.sqrt, 0.0) == (math.inf,)
    assert gradient(lambda x: x**0.5, 0.0) == (math.inf,)
    assert gradient(lambda x: x**2, 0.0) == (0.0,)


def test_a_rule_of_ones_own():
    @adjoint
    def clipped(x, limit):
        def pullback(bar):
            return min(max(bar, -limit), limit), None

        return x * x, pullback

    assert gradient(lambda x: 10 * clipped(x, 2.0), 3.0) == (2.0,)

    @adjoint
    def cube(x):
        return x**3, lambda bar: 3 * x * x * bar

    check(lambda x: cube(x) * x, 1.3)


def test_a_rule_for_a_function_of_others():
    def unreadable(x):
        return eval("x * x", {"x": x})

    @adjoint(of=unreadable)
    def _(x):
        return unreadable(x), lambda bar: 2 * x * bar

    assert gradient(lambda x: unreadable(x) * x, 3.0) == (27.0,)


def test_a_rule_that_another_package_gave_is_found():
    torchflux = pytest.importorskip("torchflux")
    square = torchflux.adjoint(lambda x: (x * x, lambda bar: bar * 100))
    assert gradient(lambda x: square(x), torch.tensor(3.0)) == (torch.tensor(100.0),)


def test_wrong_cotangents_are_refused():
    @adjoint
    def two(x, y):
        return x * y, lambda bar: (bar,)

    with pytest.raises(TypeError, match=r"returned 1 cotangents for 2 arguments"):
        gradient(two, 1.0, 2.0)

    @adjoint
    def shape(x):
        return x * 2, lambda bar: bar.sum()

    with pytest.raises(ValueError, match=r"shape \(\) for an argument of shape \(2, 3\)"):
        gradient(lambda t: shape(t).sum(), T)


def test_a_wrong_rule_is_seen():
    @adjoint
    def wrong(x):
        return math.sin(x), lambda bar: bar * math.sin(x)

    with pytest.raises(AssertionError, match="gradient"):
        check(lambda x: wrong(x) * x, 0.4)
    with pytest.raises(AssertionError):
        close(differences(lambda x: x**2, (3.0,)), [6.1])


def of_changed_operand(a, b):
    c = b.clone()
    c.mul_(2.0)
    return (a @ c).sum() + F.linear(a, c).prod()


def of_changed_index(a, b):
    i = torch.tensor([0, 0])
    i[1] = 1
    return a[i].sum() + (a[i] * b[i]).prod()


@pytest.mark.parametrize("f", [of_changed_operand, of_changed_index])
def test_a_cotangent_sees_what_its_operation_saw(f):
    a, b = torch.randn(2, 2, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    for found, expected in zip(gradient(f, a, b), torch.func.grad(f, (0, 1))(a, b), strict=True):
        torch.testing.assert_close(found, expected)


def layers(*more):
    return torch.nn.Sequential(torch.nn.Linear(3, 3), *more, torch.nn.Linear(3, 2)).double()


def hooked(model):
    model[-1].register_forward_hook(lambda m, given, y: 2 * y)
    return model


def frozen(model):
    model[0].bias.requires_grad_(False)
    return model


CHAINS = {
    "activations": lambda: layers(torch.nn.ReLU(), torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Sigmoid()),
    "chains": lambda: layers(torch.nn.Sequential(torch.nn.Tanh(), torch.nn.LayerNorm(3), torch.nn.Dropout(0.0))),
    "one layer twice": lambda: layers(*[torch.nn.Linear(3, 3)] * 2),
    "a hook": lambda: hooked(layers()),
    "a frozen parameter": lambda: frozen(layers()),
    "a parametrization": lambda: layers(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 3))),
}


@pytest.mark.parametrize("make", CHAINS.values(), ids=CHAINS)
def test_chains_of_layers(make):
    torch.manual_seed(0)
    model, x = make(), T.clone().requires_grad_()
    f = lambda m, x: (m(x) ** 2).sum() + m(x).prod()
    f(model, x).backward()
    grads, found = gradient(f, model, T)
    torch.testing.assert_close(found, x.grad)
    torch.testing.assert_close(dict(grads), {n: p.grad for n, p in model.named_parameters() if p.requires_grad})


@pytest.mark.parametrize("i", [torch.tensor([0, 0, 1]), [1, 1], (slice(None), torch.tensor([1, 0, 1]))])
def test_entries_named_twice_of_a_transposed_tensor(i):
    f = lambda t: (t.T[i] ** 2).sum() + t.T[i].prod()
    torch.testing.assert_close(gradient(f, T)[0], torch.func.grad(f)(T))


PAIRS = {
    "alike": (T, T * 2),
    "broadcast": (T, T[0]),
    "a dtype wider": (T.to(torch.float32), T),
    "complex": (T + 1j * T.flip(0), T),
    "a number": (T, T[0, 0]),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("changed", [False, True], ids=["", "changed afterwards"])
def test_operators_of_tensors_equal_autograd(kind, changed):
    def f(a, b, in_place=True):
        a, b = a * 1.5, b * 0.5
        y = (a + b) * (a - b) / b + a * b
        y = y + (y.mT @ y.conj()).sum() + torch.tanh(y) * torch.sigmoid(y)
        if changed and in_place:
            b.mul_(3.0)
            y = y + a * b
        elif changed:  # PyTorch's tape doesn't bear the change
            y = y + a * (b * 3.0)
        return (y * y.conj()).real.sum()

    leaves = [x.clone().requires_grad_() for x in PAIRS[kind]]
    f(*leaves, in_place=False).backward()
    for found, leaf in zip(gradient(f, *PAIRS[kind]), leaves, strict=True):
        assert found.dtype == leaf.dtype
        torch.testing.assert_close(found, leaf.grad)
