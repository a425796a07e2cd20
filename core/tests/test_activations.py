"""Activations: closed forms written with `math`, the type rule, derivatives, and every transform."""

import copy
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from torchflux import _activations as activations
from torchflux._activations import glu, identity, logcosh, logsoftmax, logsumexp, rrelu, softmax, softplus

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.bool, torch.uint8, torch.int32, torch.int64]
ARRAY_FUNCTIONS = {"softmax", "logsoftmax", "logsumexp", "glu"}
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


def log1pexp(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def expm1_below(x: float) -> float:
    return math.expm1(min(x, 0.0))


def phi_tail(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


CLOSED_FORMS: dict[str, Callable[[float], float]] = {
    "sigmoid": sigma,
    "hardsigmoid": lambda x: max(0.0, min(1.0, (x + 3) / 6)),
    "logsigmoid": lambda x: -log1pexp(-x),
    "hardtanh": lambda x: max(-1.0, min(1.0, x)),
    "relu": lambda x: max(0.0, x),
    "leakyrelu": lambda x: max(0.01 * x, x),
    "relu6": lambda x: max(0.0, min(6.0, x)),
    "rrelu": lambda x: max(x * (1 / 8 + 1 / 3) / 2, x),
    "elu": lambda x: max(x, 0.0) + expm1_below(x),
    "gelu": lambda x: x * phi_tail(x),
    "gelu_tanh": lambda x: x * sigma(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    "gelu_sigmoid": lambda x: x * sigma(1.702 * x),
    "swish": lambda x: x * sigma(x),
    "hardswish": lambda x: x * max(0.0, min(1.0, (x + 3) / 6)),
    "selu": lambda x: SELU_SCALE * (max(x, 0.0) + SELU_ALPHA * expm1_below(x)),
    "celu": lambda x: max(x, 0.0) + expm1_below(x),
    "softplus": log1pexp,
    "softsign": lambda x: x / (1 + abs(x)),
    "logcosh": lambda x: math.log(math.cosh(x)) if abs(x) < 300 else abs(x) - math.log(2),
    "mish": lambda x: x * math.tanh(log1pexp(x)),
    "tanh": math.tanh,
    "tanhshrink": lambda x: x - math.tanh(x),
    "softshrink": lambda x: math.copysign(max(abs(x) - 0.5, 0.0), x),
    "trelu": lambda x: x if x > 1 else 0.0,
    "lisht": lambda x: x * math.tanh(x),
}
NAMES = sorted(CLOSED_FORMS)
# PyTorch's forward mode imports code that is itself deprecated (2.13).
forward_mode = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
each = pytest.mark.parametrize("name", NAMES)


def test_every_activation_has_a_closed_form() -> None:
    assert set(activations.__all__) == {*NAMES, *ARRAY_FUNCTIONS, "identity"}


# --- values ------------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("x", [0.0, 1.0, -1.0, 0.3, -0.3, 4.5, -4.5, 35.0, -35.0, 800.0, -800.0])
def test_value_is_the_closed_form(name: str, x: float) -> None:
    # gelu_tanh computes 1 + tanh, which cancels far below zero: hence the absolute tolerance.
    assert getattr(activations, name)(x) == pytest.approx(CLOSED_FORMS[name](x), rel=1e-13, abs=1e-14)


def test_tails_keep_their_relative_precision() -> None:
    small = 1e-6
    assert logcosh(small) == pytest.approx(small**2 / 2 - small**4 / 12, rel=1e-13)
    assert softplus(-600) == pytest.approx(math.exp(-600), rel=1e-13)
    assert softplus(30) - 30 == pytest.approx(math.log1p(math.exp(-30)), abs=4e-15)
    assert activations.logsigmoid(600) == pytest.approx(-math.exp(-600), rel=1e-13)


def test_parameters_are_the_papers() -> None:
    assert activations.leakyrelu(-0.4, 0.3) == pytest.approx(-0.12)
    assert activations.elu(-2, 3) == pytest.approx(3 * math.expm1(-2))
    assert activations.celu(-4, 0.5) == pytest.approx(0.5 * math.expm1(-8))
    assert activations.softshrink(-2, 1.5) == -0.5
    assert activations.trelu(1.5, theta=2) == 0
    assert activations.trelu(1.5, theta=1.5) == 0


# --- the type rule -----------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_floating_tensors_keep_their_dtype(name: str, dtype: torch.dtype) -> None:
    points = [-10.0, -1.0, 0.0, 0.75, 1.0, 10.0]
    y = getattr(activations, name)(torch.tensor(points, dtype=dtype))
    expected = torch.tensor([CLOSED_FORMS[name](x) for x in points], dtype=torch.float64)
    assert y.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), expected, rtol=4 * eps, atol=4 * eps)


@each
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("default", [torch.float32, torch.float64], ids=str)
def test_integer_tensors_get_the_default_dtype(name: str, dtype: torch.dtype, default: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        y = getattr(activations, name)(torch.tensor([0, 1], dtype=dtype))
    finally:
        torch.set_default_dtype(before)
    expected = [CLOSED_FORMS[name](0.0), CLOSED_FORMS[name](1.0)]
    torch.testing.assert_close(y, torch.tensor(expected, dtype=default))


@each
@pytest.mark.parametrize("x", [2, -2, 0.5, True], ids=repr)
def test_python_numbers_give_python_floats(name: str, x: float) -> None:
    y = getattr(activations, name)(x)
    assert type(y) is float
    assert y == pytest.approx(CLOSED_FORMS[name](float(x)), rel=1e-14)


@each
@pytest.mark.parametrize(
    ("dtype", "result"),
    [("f2", "f2"), ("f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("i8", "f8"), ("u1", "f8"), ("?", "f8")],
)
def test_numpy_gives_numpy(name: str, dtype: str, result: str) -> None:
    x = np.array([[0, 1], [1, 1]], dtype=dtype)
    expected = [[CLOSED_FORMS[name](float(v)) for v in row] for row in x]
    for argument in (x, x[::-1, ::-1], np.broadcast_to(x, (3, 2, 2))):
        y = getattr(activations, name)(argument)
        assert isinstance(y, np.ndarray)
        assert y.dtype == np.dtype(result)
        assert y.shape == argument.shape
    tolerance = 4 * np.finfo(result).eps
    np.testing.assert_allclose(getattr(activations, name)(x), expected, rtol=tolerance, atol=tolerance)
    scalar = getattr(activations, name)(x[0, 1])
    assert isinstance(scalar, np.generic)
    assert scalar.dtype == np.dtype(result)


@each
@pytest.mark.parametrize("x", [[1.0], None, "1", 1j, np.array(["a"])], ids=repr)
def test_anything_else_is_refused(name: str, x: object) -> None:
    with pytest.raises(TypeError, match=rf"not a {type(x).__name__}; use|ufunc 'divide' not supported"):
        getattr(activations, name)(x)


def test_identity_returns_its_argument() -> None:
    x = object()
    assert identity(x) is x


# --- the edges ---------------------------------------------------------------------------------------------

UNGUARDED = {"swish", "hardswish", "gelu", "gelu_tanh", "gelu_sigmoid"}  # NaN at -inf: the module says so
AT_MINUS_INFINITY = {
    "sigmoid": 0.0, "hardsigmoid": 0.0, "logsigmoid": -math.inf, "hardtanh": -1.0, "relu": 0.0,
    "leakyrelu": -math.inf, "relu6": 0.0, "rrelu": -math.inf, "elu": -1.0,
    "selu": -SELU_SCALE * SELU_ALPHA, "celu": -1.0, "softplus": 0.0, "softsign": -1.0, "logcosh": math.inf,
    "mish": 0.0, "tanh": -1.0, "tanhshrink": -math.inf, "softshrink": -math.inf, "trelu": 0.0,
    "lisht": math.inf,
}  # fmt: skip
BOUNDED_ABOVE = {"sigmoid": 1.0, "hardsigmoid": 1, "logsigmoid": 0, "hardtanh": 1, "relu6": 6, "softsign": 1, "tanh": 1}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", sorted(set(NAMES) - UNGUARDED))
def test_infinity_gives_the_limit(name: str, dtype: torch.dtype) -> None:
    y = getattr(activations, name)(torch.tensor([-math.inf, math.inf], dtype=dtype))
    expected = torch.tensor([AT_MINUS_INFINITY[name], BOUNDED_ABOVE.get(name, math.inf)], dtype=dtype)
    torch.testing.assert_close(y, expected)


@each
def test_nan_stays_nan(name: str) -> None:
    assert math.isnan(getattr(activations, name)(math.nan))


@each
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_large_arguments_give_no_nan(name: str, dtype: torch.dtype) -> None:
    far = 0.9 * math.sqrt(torch.finfo(dtype).max)
    points = torch.tensor([20.0, 90.0, 200.0, far, -20.0, -90.0, -200.0, -far], dtype=dtype, requires_grad=True)
    y = getattr(activations, name)(points)
    (slope,) = torch.autograd.grad(y.sum(), points)
    assert y.isfinite().all()
    assert slope.isfinite().all()


@each
def test_shapes_pass_through(name: str) -> None:
    for shape in [(), (0,), (1,), (2, 0, 3), (2, 3, 4)]:
        assert getattr(activations, name)(torch.zeros(shape)).shape == shape


# --- derivatives -------------------------------------------------------------------------------------------

AWAY_FROM_KINKS = torch.tensor([-9.1, -3.3, -2.2, -0.7, -0.31, 0.23, 0.8, 1.7, 2.6, 4.1, 7.7], dtype=torch.float64)


def derivative(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return torch.func.grad(lambda x: f(x).sum())


def assert_derivative(f: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], x: Tensor) -> None:
    h = 1e-5
    torch.testing.assert_close(slope(x), (f(x + h) - f(x - h)) / (2 * h), rtol=1e-8, atol=1e-9)


@each
def test_first_and_second_derivative(name: str) -> None:
    f = getattr(activations, name)
    assert_derivative(f, derivative(f), AWAY_FROM_KINKS)
    assert_derivative(derivative(f), derivative(derivative(f)), AWAY_FROM_KINKS)


def test_the_derivative_check_catches_a_wrong_rule() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.tanh(x)

        @staticmethod
        def backward(ctx, cotangent):
            return 0.999 * cotangent

    def slope(x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(Wrong.apply(x).sum(), x)[0]

    with pytest.raises(AssertionError, match="not close"):
        assert_derivative(torch.tanh, slope, AWAY_FROM_KINKS)


# f'(0) and f''(0), by hand. softplus''(0) was wrong in NNlib (its issue 671); |x| breaks logcosh''(0).
AT_ZERO = {
    "sigmoid": (1 / 4, 0), "logsigmoid": (1 / 2, -1 / 4), "softplus": (1 / 2, 1 / 4), "logcosh": (0, 1),
    "tanh": (1, 0), "tanhshrink": (0, 0), "lisht": (0, 2), "swish": (1 / 2, 1 / 2),
    "gelu": (1 / 2, 2 / math.sqrt(2 * math.pi)), "gelu_tanh": (1 / 2, 2 / math.sqrt(2 * math.pi)),
    "gelu_sigmoid": (1 / 2, 1.702 / 2), "mish": (0.6, 2 * 0.32),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(AT_ZERO))
def test_smooth_ones_at_zero(name: str) -> None:
    zero = torch.zeros((), dtype=torch.float64)
    first = torch.func.grad(getattr(activations, name))
    assert (first(zero).item(), torch.func.grad(first)(zero).item()) == pytest.approx(AT_ZERO[name], rel=1e-12)


def test_mish_keeps_its_second_derivative_far_out() -> None:
    x = torch.tensor([15.0, 300.0, -300.0])
    for dtype in FLOATS:
        second = derivative(derivative(activations.mish))(x.to(dtype))
        torch.testing.assert_close(second, torch.zeros_like(second), rtol=0, atol=1e-3)


# --- transforms --------------------------------------------------------------------------------------------


@forward_mode
@each
def test_forward_mode_agrees_with_reverse_mode(name: str) -> None:
    f = getattr(activations, name)
    _, tangent = torch.func.jvp(f, (AWAY_FROM_KINKS,), (torch.ones_like(AWAY_FROM_KINKS),))
    torch.testing.assert_close(tangent, derivative(f)(AWAY_FROM_KINKS))


@each
def test_vmap_is_the_loop(name: str) -> None:
    f = getattr(activations, name)
    x = torch.linspace(-4, 4, 12).reshape(4, 3)
    torch.testing.assert_close(torch.vmap(f)(x), torch.stack([f(row) for row in x]))


@each
def test_parameters_and_subclasses_are_tensors(name: str) -> None:
    class Marked(Tensor):
        pass

    f = getattr(activations, name)
    parameter = torch.nn.Parameter(torch.tensor([-0.5, 2.0]))
    f(parameter).sum().backward()
    assert parameter.grad is not None
    assert isinstance(f(parameter.detach().as_subclass(Marked)), Marked)


@each
def test_functions_are_copied_and_pickled_by_name(name: str) -> None:
    f = getattr(activations, name)
    assert copy.deepcopy(f) is f
    assert pickle.loads(pickle.dumps(f)) is f


def test_compiled_is_eager() -> None:
    def model(x: Tensor, n: Tensor) -> Tensor:
        total = activations.relu(n).sum()
        for name in NAMES:
            total = total + getattr(activations, name)(x).sum()
        return total + softmax(x).sum() + logsumexp(x) + glu(x).sum() + logsoftmax(x).sum()

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.linspace(-3, 3.1, 10, requires_grad=True)
    n = torch.arange(3)
    torch.testing.assert_close(compiled(x, n), model(x, n))
    torch.testing.assert_close(
        torch.autograd.grad(compiled(x, n), x)[0], torch.autograd.grad(model(x, n), x)[0], rtol=1e-5, atol=1e-5
    )


# --- rrelu -------------------------------------------------------------------------------------------------


def test_rrelu_draws_its_slopes() -> None:
    x = torch.full((10_000,), -2.0)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        y = rrelu(x, 0.25, 0.75, training=True)
        torch.manual_seed(3)
        again = rrelu(x, 0.25, 0.75, training=True)
    slopes = y / x
    assert torch.equal(y, again)
    assert slopes.min() >= 0.25
    assert slopes.max() <= 0.75
    # U(1/4, 3/4): mean 1/2, standard deviation 1/sqrt(48) = 0.144; four standard errors of the mean.
    assert slopes.mean().item() == pytest.approx(0.5, abs=4 * 0.144 / 100)
    assert torch.equal(rrelu(-x, training=True), -x)
    batched = torch.vmap(lambda row: rrelu(row, training=True), randomness="different")(x.reshape(100, 100))
    assert batched.unique().numel() > 1000


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_rrelu_s_derivative_is_its_slope(dtype: torch.dtype) -> None:
    x = torch.full((100,), -2.0, dtype=dtype, requires_grad=True)
    y = rrelu(x, training=True)
    assert y.dtype == dtype
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], (y / x).detach())


# --- along a dimension -------------------------------------------------------------------------------------

ROWS = [[0.0, 1.0, -2.0, 3.0], [1000.0, 996.0, 0.0, -1000.0]]


def reference_softmax(row: list[float]) -> list[float]:
    shifted = [math.exp(v - max(row)) for v in row]
    return [v / sum(shifted) for v in shifted]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_softmax_family_values(dtype: torch.dtype) -> None:
    x = torch.tensor(ROWS, dtype=dtype)
    p = [reference_softmax(row) for row in ROWS]
    excess = [math.log(sum(math.exp(v - max(row)) for v in row)) for row in ROWS]
    lse = [max(row) + z for row, z in zip(ROWS, excess, strict=True)]
    close = {"rtol": 8 * torch.finfo(dtype).eps, "atol": torch.finfo(dtype).eps}
    torch.testing.assert_close(softmax(x), torch.tensor(p, dtype=dtype), **close)
    torch.testing.assert_close(softmax(x.T, dim=0), torch.tensor(p, dtype=dtype).T, **close)
    torch.testing.assert_close(logsumexp(x), torch.tensor(lse, dtype=dtype), **close)
    expected = torch.tensor([[v - max(row) - z for v in row] for row, z in zip(ROWS, excess, strict=True)], dtype=dtype)
    torch.testing.assert_close(logsoftmax(x), expected, **close)
    assert logsumexp(x, keepdim=True).shape == (2, 1)


def test_glu_gates_one_half_with_the_other() -> None:
    x = torch.tensor([[1.0, -2.0, 3.0, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(glu(x), torch.tensor([[1 * sigma(3), -2 * sigma(0.5)]], dtype=torch.float64))
    assert glu(x.T, dim=0).shape == (2, 1)
    with pytest.raises(RuntimeError, match="even"):
        glu(torch.zeros(3))


@pytest.mark.parametrize("name", sorted(ARRAY_FUNCTIONS))
def test_array_functions_follow_the_type_rule(name: str) -> None:
    f = getattr(activations, name)
    integers = torch.tensor([[1, 2], [3, 4]])
    expected = f(integers.double())
    for dtype in FLOATS:
        assert f(integers.to(dtype)).dtype == dtype
    torch.testing.assert_close(f(integers), expected.float())
    np.testing.assert_allclose(f(integers.numpy()), expected.numpy(), rtol=1e-15)
    assert f(integers.numpy().astype("f4")).dtype == np.float32
    with pytest.raises(TypeError, match="not a list; use"):
        f([1.0, 2.0])


@forward_mode
@pytest.mark.parametrize("name", sorted(ARRAY_FUNCTIONS))
def test_array_functions_pass_gradcheck(name: str) -> None:
    x = torch.tensor([[0.3, -1.2, 2.0, 0.1], [1.0, 0.7, -0.4, 0.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(activations, name), x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(getattr(activations, name), x)


def test_a_masked_class_has_probability_zero() -> None:
    x = torch.tensor([0.0, -math.inf, 0.0], requires_grad=True)
    torch.testing.assert_close(softmax(x), torch.tensor([0.5, 0.0, 0.5]))
    assert torch.autograd.grad(logsumexp(x), x)[0].tolist() == pytest.approx([0.5, 0.0, 0.5])
