"""Jets: derivatives in the coordinates by Taylor mode equal those of reverse mode, taken again and again."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchflux as tf
from torchflux_physics import rule
from torchflux_physics._jet import Jet, component, inside_model, variables

INDICES = ((0,), (1,), (0, 0), (0, 1), (0, 0, 1), (0, 0, 0, 0))
POINTS = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def by_reverse_mode(model: Callable[[Any], Tensor], points: Tensor, index: tuple[int, ...]) -> Tensor:
    """A derivative at each point, of a model (n, 2) → (n, 1)."""

    def once(f: Callable[[Tensor], Tensor], i: int) -> Callable[[Tensor], Tensor]:
        return lambda p: torch.func.grad(f)(p)[i]

    f: Callable[[Tensor], Tensor] = lambda p: model(p[None])[0, 0]
    for i in index:
        f = once(f, i)
    return torch.stack([f(p) for p in points])


def errors(model: Callable[[Any], Any], points: Tensor = POINTS, indices: Any = INDICES) -> list[float]:
    """Of each derivative, relative to the largest."""
    jet, found = model(variables(points)), []
    for index in indices:
        exact, ours = by_reverse_mode(model, points, index), component(jet, index)
        ours = torch.zeros_like(exact) if ours is None else ours.expand(len(points), 1)[:, 0]
        found.append(((ours - exact).abs().max() / (1 + exact.abs().max())).item())
    return found


def between(f: Callable[[Any], Any], width: int = 4) -> Callable[[Any], Any]:
    """A function between two dense layers."""
    torch.manual_seed(1)
    first, last = nn.Linear(2, width).double(), nn.Linear(width, 1).double()
    return lambda x: last(f(first(x)))


def by_hand_layer_norm(x: Any) -> Any:
    off = x - x.mean(-1, keepdim=True)
    return off * torch.rsqrt((off * off).mean(-1, keepdim=True) + 1e-5)


SMOOTH: dict[str, Callable[[Any], Any]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "cos": Tensor.cos,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "erf": torch.erf,
    "erfc": torch.special.erfc,
    "atan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "asinh": torch.asinh,
    "gelu": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "softplus, steeper": lambda x: F.softplus(x, beta=3),
    "softplus, straight from there on": lambda x: F.softplus(x, threshold=0.5),
    "logsigmoid": F.logsigmoid,
    "tanhshrink": F.tanhshrink,
    "log": lambda x: torch.log(2 + torch.sin(x)),
    "log1p": lambda x: torch.log1p(x * x),
    "log2": lambda x: torch.log2(2 + x * x),
    "log10": lambda x: torch.log10(2 + x**2),
    "sqrt": lambda x: torch.sqrt(1 + x * x),
    "rsqrt": lambda x: torch.rsqrt(1 + x.square()),
    "tan": lambda x: torch.tan(x / 4),
    "asin": lambda x: torch.asin(torch.sin(x) / 2),
    "acos": lambda x: torch.acos(torch.tanh(x) / 2),
    "atanh": lambda x: torch.atanh(torch.sin(x) / 2),
    "acosh": lambda x: torch.acosh(2 + x * x),
    "pow": lambda x: x**3 - 2 / x.pow(2),
    "rational": lambda x: (1 - x) / (1 + x * x),
    "reciprocal": lambda x: 1 / (2 + torch.sin(x)),
    "base": lambda x: 2**x,
    "power of both": lambda x: (1 + x * x) ** (x / 3),
    "atan2": lambda x: torch.atan2(x, 1 + x * x),
    "hypot": lambda x: torch.hypot(x, 1 + x),
    "swish of the core": tf.swish,
    "logcosh of the core": tf.logcosh,
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "softmin": lambda x: F.softmin(x, -1),
    "logsumexp": lambda x: torch.logsumexp(x, -1, keepdim=True) * x,
    "glu": lambda x: torch.cat([F.glu(x), F.glu(x)], -1),
    "logsumexp of two dimensions": lambda x: torch.logsumexp(x.view(-1, 2, 2), (1, 2))[:, None] * x,
    "variance": lambda x: x * x.var(-1, keepdim=True),
    "biased variance": lambda x: x * torch.var(x, -1, False)[:, None],
    "norm": lambda x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True),
    "norm of order 1": lambda x: x * torch.norm(torch.sin(x), p=1, dim=-1, keepdim=True),
    "norm of order 3": lambda x: x * x.norm(3, -1, keepdim=True),
    "norm of a matrix": lambda x: x * torch.linalg.norm(x.view(-1, 2, 2), dim=(1, 2))[:, None],
    "matrix_norm": lambda x: x * torch.linalg.matrix_norm(x.view(-1, 2, 2))[:, None],
    "normalize": lambda x: F.normalize(x, dim=-1),
    "group_norm": lambda x: F.group_norm(torch.cat([x, x * x], -1), 2)[:, 2:6],
    "rms_norm": lambda x: F.rms_norm(x, (4,), torch.arange(4).double()),
    "batch_norm": lambda x: F.batch_norm(torch.sin(x), torch.ones(4).double(), 2 * torch.ones(4).double()),
    "cat and slice": lambda x: torch.cat([x, x.sin()], -1)[:, 1:5],
    "stack": lambda x: torch.stack([x, x * x], 0).sum(0),
    "einsum": lambda x: torch.einsum("ni,nj->nij", x, x).flatten(1)[:, 3:7],
    "chunk": lambda x: torch.cat([a * b for a, b in [x.chunk(2, -1)]] * 2, -1),
    "bmm": lambda x: torch.bmm(x[:, :, None], x[:, None]).sum(-1),
    "cumsum": lambda x: torch.cumsum(x, -1).sin(),
    "where": lambda x: torch.where(x > 0, x**3, x**2),
    "where as a method": lambda x: (x**3).where(x > 0, x**2),
    "maximum": lambda x: torch.maximum(x**3, x),
    "clamped by another": lambda x: torch.clamp(x**3, min=torch.sin(x)),
    "clamp_min": lambda x: x * torch.clamp_min(x**2, 0.1),
    "addmm": lambda x: torch.addmm(torch.ones(4).double(), x, torch.ones(4, 4).double(), beta=2, alpha=0.3).sin(),
    "rounded": lambda x: x**2 * (3.3 * x).long(),
    "attention": lambda x: F.scaled_dot_product_attention(*[x.view(-1, 2, 2)] * 3, is_causal=True).flatten(1),
    "conv": lambda x: F.conv1d(x[:, None], torch.ones(1, 1, 3).double(), torch.ones(1).double(), padding=1)[:, 0].sin(),
    "in place": lambda x: torch.tanh_(x * 1),
    "added in place": lambda x: _residual_in_place(x),
    "double well": lambda x: (x - 1).square() * (1 + x).square(),
    "of a float": lambda x: 1.5 - 2 * x + torch.sin(x) * 0.5,
}


def _residual_in_place(x: Any) -> Any:
    y = torch.sin(x)
    y += x * x
    return y


@pytest.mark.parametrize("name", SMOOTH)
def test_a_rule_equals_reverse_mode(name: str) -> None:
    assert max(errors(between(SMOOTH[name]), indices=INDICES[:-1])) < 1e-11


@pytest.mark.parametrize(
    "activation", [tf.tanh, tf.sigmoid, tf.gelu, tf.softplus, tf.mish, tf.swish, tf.lisht, tf.gelu_tanh]
)
def test_a_network_of_the_core(activation: Any) -> None:
    torch.manual_seed(0)
    model = tf.Chain(
        tf.Dense(2, 8, activation), tf.SkipConnection(tf.Dense(8, 8, activation), lambda a, b: a + b), tf.Dense(8, 1)
    ).double()
    assert max(errors(model)) < 1e-11


def test_instance_norm() -> None:  # which torch 2.13's own second derivative isn't right of either
    views = (lambda f: lambda x: f(x.view(-1, 2, 2)).flatten(1))(lambda x: by_hand_layer_norm(x))
    model, by_hand = between(lambda x: F.instance_norm(x.view(-1, 2, 2)).flatten(1)), between(views)
    ours = model(variables(POINTS))
    for index in INDICES[:-1]:
        exact = by_reverse_mode(by_hand, POINTS, index)
        assert (component(ours, index)[:, 0] - exact).abs().max() < 1e-10 * (1 + exact.abs().max())


def test_twice_in_place() -> None:  # which reverse mode refuses
    x = between(torch.sin)(variables(POINTS))
    y = x * 2
    y.tanh_()
    y += x
    for index in INDICES[:-1]:
        torch.testing.assert_close(component(y, index), component(torch.tanh(x * 2) + x, index))


def test_powers_at_zero() -> None:
    exponents = torch.arange(4).double()
    y = (variables(torch.zeros(1, 2).double())[:, :1] ** exponents).sum(-1)
    assert [component(y, (0,) * n).item() for n in (1, 2, 3)] == [1.0, 2.0, 6.0]


def test_layer_norm_where_pytorch_is_wrong() -> None:
    # torch 2.13's own third derivative of layer_norm differs from that of the operations it stands for.
    model, by_hand = between(lambda x: F.layer_norm(x, (4,))), between(by_hand_layer_norm)
    ours = model(variables(POINTS))
    for index in INDICES[:-1]:
        exact = by_reverse_mode(by_hand, POINTS, index)
        assert (component(ours, index)[:, 0] - exact).abs().max() < 1e-10 * (1 + exact.abs().max())


def test_a_wrong_slope_is_noticed() -> None:
    def wrong(x: Tensor) -> Tensor:
        return torch.special.i0(x)

    rule(torch.special.i0)(lambda x, y: 1.001 * torch.special.i1(x))
    rule(torch.special.i1)(lambda x, y: torch.special.i0(x) - y / x)
    assert max(errors(between(wrong), indices=INDICES[:2])) > 1e-6
    rule(torch.special.i0)(lambda x, y: torch.special.i1(x))
    assert max(errors(between(wrong), indices=INDICES[:-1])) < 1e-11


@pytest.mark.parametrize(
    "f", [torch.lgamma, torch.sinc, lambda x: x.prod(-1, keepdim=True) * x, lambda x: x.sort(-1)[0] ** 2]
)
def test_without_a_rule_it_is_slower_and_says_so(f: Any) -> None:
    with pytest.warns(UserWarning, match="no rule for jets.*torchflux_physics.rule"):
        assert max(errors(between(f), indices=INDICES[:-2])) < 1e-10


@pytest.mark.parametrize(
    "f", [torch.lgamma, torch.sinc, lambda x: torch.addcmul(x, x, x), lambda x: torch.lerp(x, x * x, x)]
)
def test_without_a_rule_the_highest_derivative_may_be_asked_for_first(f: Any) -> None:
    with pytest.warns(UserWarning, match="no rule for jets"):
        assert max(errors(between(f), indices=((0, 0, 1),))) < 1e-10


def test_a_recurrent_layer_and_attention() -> None:
    torch.manual_seed(0)
    layers = nn.GRU(1, 4, batch_first=True).double(), nn.MultiheadAttention(4, 2, batch_first=True).double()

    def model(x: Any) -> Any:
        y, _ = layers[0](x[:, :, None])
        return layers[1](y, y, y, need_weights=True)[0][:, 0, :1]

    with pytest.warns(UserWarning, match="no rule for jets"):
        assert max(errors(model, indices=((0, 0), (0, 1)))) < 1e-10


def test_straight_pieces() -> None:
    prelu = lambda x: F.prelu(x, torch.tensor([0.3]).double())
    for f in (torch.relu, F.leaky_relu, F.hardtanh, F.hardsigmoid, prelu):
        model = between(f)
        assert max(errors(model, indices=INDICES[:2])) < 1e-8  # PyTorch holds 1/6 in float32
        with pytest.warns(UserWarning, match="straight pieces"):
            component(model(variables(POINTS)), (0, 0))


def test_a_custom_gradient_goes_by_its_jvp() -> None:
    push = lambda primals, tangents: torch.exp(primals[0]) * (tangents[0] * primals[1] + tangents[1])

    @tf.adjoint(jvp=push)
    def weighted(x: Any, y: Any) -> Any:
        return torch.exp(x) * y, lambda ȳ: (ȳ * torch.exp(x) * y, ȳ * torch.exp(x))

    plain = between(lambda x: torch.exp(x) * torch.sin(x))(variables(POINTS))
    custom = between(lambda x: weighted(x, torch.sin(x)))(variables(POINTS))
    for index in INDICES:
        torch.testing.assert_close(component(custom, index), component(plain, index), rtol=1e-12, atol=1e-12)

    @tf.adjoint
    def without(x: Any) -> Any:
        return x, lambda ȳ: ȳ

    with pytest.raises(TypeError, match=r"without has a custom gradient.*@adjoint\(jvp"):
        between(without)(variables(POINTS))


class Opaque(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2


def test_what_cannot_be_seen_is_refused() -> None:
    x = variables(POINTS)
    with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated
        scripted = torch.jit.trace(nn.Tanh(), POINTS)
    with inside_model(), pytest.raises(NotImplementedError, match=r"gradients are switched off.*adjoint\(jvp"):
        Opaque.apply(x)
    with pytest.raises(TypeError, match=r"use torch\.where"):
        float(x[0, 0])
    with pytest.raises(TypeError, match="mixes the points"):
        F.batch_norm(x, None, None, training=True)
    with pytest.raises(NotImplementedError, match="in place on a view"):
        x[:, 0].exp_()
    row = x * 1
    kept = row[:, :1]
    with pytest.raises(NotImplementedError, match="in place on a view"):
        row.exp_()
    assert kept.shape == (6, 1)
    double = row * 2  # which takes row as it is then, and derives it later
    with pytest.raises(NotImplementedError, match="something else was made of before"):
        row += double
    with pytest.raises(NotImplementedError, match="constants is changed in place"):
        torch.zeros(6, 2, dtype=torch.float64).add_(x)
    with pytest.raises(NotImplementedError, match="masked_fill_ changes"):
        double.masked_fill_(POINTS > 0, 0.0)
    with pytest.raises(TypeError, match=r"torch\.stack or torch\.cat"):
        double[:, 0] = 1.0
    with pytest.raises(NotImplementedError, match="in the residual"):
        torch.autograd.grad(double.sum(), x)
    with pytest.raises(NotImplementedError, match="takes all points at once"):
        torch.vmap(torch.sin)(x)
    with pytest.raises(NotImplementedError, match="is scripted"):
        scripted(x)
    for norm in (torch.linalg.norm, torch.linalg.matrix_norm):
        with pytest.raises(TypeError, match="matrix norm of order 2"):
            norm(x, 2)
    with pytest.raises(TypeError, match="order inf"):
        torch.linalg.vector_norm(x, float("inf"))


def test_only_what_is_wanted_is_computed() -> None:
    asked: list[tuple[int, ...]] = []
    x = variables(POINTS)
    derive = x.derive
    x.derive = lambda jet, index: asked.append(index) or derive(jet, index)  # type: ignore[func-returns-value]
    y = between(torch.tanh)(x)
    assert not asked
    component(y, (0, 0))
    assert set(asked) == {(0,), (0, 0)}


def test_dtypes_and_complex_values() -> None:
    assert component(between(torch.tanh)(variables(POINTS)), (0, 0)).dtype == torch.float64
    model = tf.Chain(tf.Dense(2, 4, tf.tanh), tf.Dense(4, 1))
    assert component(model(variables(POINTS.float())), (0, 0)).dtype == torch.float32
    wave = torch.exp(1j * variables(POINTS)[:, 0] * 2)
    torch.testing.assert_close(component(wave, (0, 0)), -4 * wave.value)


MODULI: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "abs": (torch.abs, lambda a, b: torch.sqrt(a * a + b * b)),
    "norm": (lambda z: z.norm(dim=-1, keepdim=True), lambda a, b: (a * a + b * b).sum(-1, keepdim=True).sqrt()),
    "var": (lambda z: z.var(-1, keepdim=True), lambda a, b: a.var(-1, keepdim=True) + b.var(-1, keepdim=True)),
    "sgn": (lambda z: torch.sgn(z).imag, lambda a, b: b / torch.sqrt(a * a + b * b)),
}


@pytest.mark.parametrize("name", MODULI)
def test_moduli_of_complex_values(name: str) -> None:
    of_complex, of_parts = MODULI[name]
    x = between(torch.tanh)(variables(POINTS)) + torch.arange(3).double()
    ours, exact = of_complex(torch.sin(x) + 1j * torch.exp(x)), of_parts(torch.sin(x), torch.exp(x))
    for index in ((0,), (0, 1), (0, 0, 1)):
        torch.testing.assert_close(component(ours, index), component(exact, index), rtol=1e-12, atol=1e-12)


def test_gradients_of_derivatives() -> None:
    model = tf.Chain(tf.Dense(2, 4, tf.tanh), tf.Dense(4, 1)).double()
    weights = list(model.parameters())[:2]
    ours = torch.autograd.grad(component(model(variables(POINTS)), (0, 1)).square().sum(), weights)
    exact = torch.autograd.grad(by_reverse_mode(model, POINTS, (0, 1)).square().sum(), weights)
    for a, b in zip(ours, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_dropout_loses_the_same_elements_everywhere() -> None:
    torch.manual_seed(0)
    y = F.dropout(variables(POINTS) ** 2, 0.5)
    lost = y.value == 0
    assert 0 < lost.sum() < lost.numel()
    first = component(y, (0,)).expand(6, 2)
    assert torch.equal(first[:, 0] == 0, lost[:, 0])


def test_memory_is_let_go() -> None:
    import gc
    import weakref

    from torchflux_physics import residuals

    gc.collect()
    gc.disable()
    try:
        model = tf.Chain(tf.Dense(2, 4, tf.tanh), tf.Dense(4, 1)).double()
        kept: list[Any] = []
        seen = lambda p: kept.append(weakref.ref(p)) or model(p)  # type: ignore[func-returns-value]
        residuals(lambda u: u.xx + torch.sin(u).x, seen, POINTS)
        assert isinstance(kept, list)
        assert kept[0]() is None
    finally:
        gc.enable()


def test_a_jet_says_what_it_is() -> None:
    with warnings.catch_warnings(action="error"):
        x = variables(POINTS)
        assert isinstance(x, Jet)
        assert x.shape == (6, 2)
        assert len(x) == 6
        assert x.dtype == torch.float64
        assert "Jet(" in repr(x)
        assert math.isclose(sum(row.value.sum() for row in x), POINTS.sum())


@pytest.mark.filterwarnings("ignore:.*no rule for jets")
def test_several_orders_without_a_rule() -> None:
    # A derivative that is first asked for inside of another one isn't kept from there.
    jet, model = between(torch.lgamma)(variables(POINTS)), between(torch.lgamma)
    for index in ((0, 0), (0,), (0, 0, 1), (0, 1)):
        exact = by_reverse_mode(model, POINTS, index)
        torch.testing.assert_close(component(jet, index)[:, 0], exact, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*no rule for jets")
def test_attention_has_its_second_derivative() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation="gelu", batch_first=True).double()
    f = lambda x: layer(torch.stack([x, torch.sin(x)], 1))[:, 0]
    slow = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    ours = component(between(f)(variables(POINTS)), (0, 0))
    step = torch.tensor([1e-4, 0.0], dtype=torch.float64)
    with slow, torch.no_grad():
        model = between(f)
        exact = (model(POINTS + step) - 2 * model(POINTS) + model(POINTS - step)) / 1e-8
    torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-5)
