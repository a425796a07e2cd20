"""Losses: values written again in NumPy, gradients by finite differences, sizes, dtypes, and every transform."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchflux import _losses as losses
from torchflux._activations import identity
from torchflux._losses import (
    binary_focal_loss,
    crossentropy,
    ctc_loss,
    dice_coeff_loss,
    focal_loss,
    kldivergence,
    label_smoothing,
    logitbinarycrossentropy,
    logitcrossentropy,
    mse,
    poisson_loss,
    siamese_contrastive_loss,
    tversky_loss,
)

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
EPS = float(np.finfo(np.float64).eps)
forward_mode = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

Array = np.ndarray
rng = np.random.default_rng(0)
REAL, OTHER = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
POSITIVE = rng.uniform(0.2, 3.0, size=(4, 3))
PROBABILITY = rng.uniform(0.05, 0.95, size=(4, 3))
DISTRIBUTION = rng.dirichlet(np.ones(3), size=4)
TARGET = rng.dirichlet(np.ones(3), size=4)
BINARY = rng.integers(0, 2, size=(4, 3)).astype(float)
COUNTS = rng.integers(0, 5, size=(4, 3)).astype(float)
SIGNS = 2 * BINARY - 1
CLASSES = np.array([2, 0, 1, 2])
ONE_HOT = np.eye(3)[CLASSES]


def np_logsoftmax(x: Array) -> Array:
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def np_huber(yhat: Array, y: Array, delta: float = 1.0) -> Array:
    e = np.abs(yhat - y)
    return np.where(e < delta, e**2 / 2, delta * (e - delta / 2))


def np_binary_focal(yhat: Array, y: Array, gamma: float = 2.0) -> Array:
    p = np.where(y == 1, yhat, 1 - yhat)
    return -((1 - p) ** gamma) * np.log(p + EPS)


def np_dice(yhat: Array, y: Array, smooth: float = 1.0) -> Array:
    return np.array(1 - (2 * (y * yhat).sum() + smooth) / ((y**2).sum() + (yhat**2).sum() + smooth))


def np_tversky(yhat: Array, y: Array, beta: float = 0.7) -> Array:
    hit, false_positive, false_negative = (y * yhat).sum(), ((1 - y) * yhat).sum(), (y * (1 - yhat)).sum()
    return np.array(1 - (hit + 1) / (hit + beta * false_positive + (1 - beta) * false_negative + 1))


@dataclass
class Case:
    """A loss, its arguments, and the losses before any reduction as NumPy has them."""

    name: str
    yhat: Array
    y: Array
    reference: Callable[[Array, Array], Array]
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, yhat: Tensor, y: Tensor, **more: Any) -> Tensor:
        return getattr(losses, self.name)(yhat, y, **self.options, **more)

    def tensors(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.yhat, dtype=dtype), torch.tensor(self.y, dtype=dtype)

    def expected(self) -> Tensor:
        return torch.tensor(self.reference(self.yhat, self.y))

    def __repr__(self) -> str:
        return "-".join([self.name, *map(str, self.options.values())])


CASES = [
    Case("mae", REAL, OTHER, lambda p, y: np.abs(p - y)),
    Case("mse", REAL, OTHER, lambda p, y: (p - y) ** 2),
    Case("msle", POSITIVE, COUNTS + 0.5, lambda p, y: np.log((p + EPS) / (y + EPS)) ** 2),
    Case("msle", POSITIVE, COUNTS, lambda p, y: np.log((p + 1) / (y + 1)) ** 2, {"eps": 1.0}),
    Case("huber_loss", REAL, OTHER, np_huber),
    Case("huber_loss", REAL, OTHER, partial(np_huber, delta=0.3), {"delta": 0.3}),
    Case("crossentropy", DISTRIBUTION, TARGET, lambda p, y: -(y * np.log(p + EPS)).sum(-1)),
    Case("crossentropy", DISTRIBUTION, ONE_HOT, lambda p, y: -(y * np.log(p + 0.1)).sum(-1), {"eps": 0.1}),
    Case("logitcrossentropy", REAL, TARGET, lambda p, y: -(y * np_logsoftmax(p)).sum(-1)),
    Case(
        "binarycrossentropy", PROBABILITY, BINARY, lambda p, y: -np.where(y == 1, np.log(p + EPS), np.log(1 - p + EPS))
    ),
    Case("logitbinarycrossentropy", REAL, BINARY, lambda p, y: np.log1p(np.exp(-p * (2 * y - 1)))),
    Case("kldivergence", DISTRIBUTION, TARGET, lambda p, y: (y * np.log(y / (p + EPS))).sum(-1)),
    Case("poisson_loss", POSITIVE, COUNTS, lambda p, y: p - y * np.log(p)),
    Case("hinge_loss", REAL, SIGNS, lambda p, y: np.maximum(0, 1 - p * y)),
    Case("squared_hinge_loss", REAL, SIGNS, lambda p, y: np.maximum(0, 1 - p * y) ** 2),
    Case("dice_coeff_loss", PROBABILITY, BINARY, np_dice),
    Case("dice_coeff_loss", PROBABILITY, BINARY, partial(np_dice, smooth=0.1), {"smooth": 0.1}),
    Case("tversky_loss", PROBABILITY, BINARY, np_tversky),
    Case("tversky_loss", PROBABILITY, BINARY, partial(np_tversky, beta=0.2), {"beta": 0.2}),
    Case("binary_focal_loss", PROBABILITY, BINARY, np_binary_focal),
    Case("binary_focal_loss", PROBABILITY, BINARY, partial(np_binary_focal, gamma=0.5), {"gamma": 0.5}),
    Case("focal_loss", DISTRIBUTION, TARGET, lambda p, y: -(y * (1 - p) ** 2 * np.log(p + EPS)).sum(-1)),
    Case("focal_loss", DISTRIBUTION, TARGET, lambda p, y: -(y * np.log(p + EPS)).sum(-1), {"gamma": 0.0}),
    Case(
        "siamese_contrastive_loss",
        POSITIVE,
        BINARY,
        lambda p, y: np.where(y == 1, np.maximum(0, 1.5 - p) ** 2, p**2),
        {"margin": 1.5},
    ),
]
each = pytest.mark.parametrize("case", CASES, ids=repr)
# One case for each loss.
FIRST = list({case.name: case for case in reversed(CASES)}.values())
each_loss = pytest.mark.parametrize("case", FIRST, ids=repr)


def test_every_loss_has_a_case() -> None:
    assert {case.name for case in CASES} == set(losses.__all__) - {"label_smoothing", "ctc_loss"}


# --- values and reductions ---------------------------------------------------------------------------------


@each
def test_value_is_numpys(case: Case) -> None:
    torch.testing.assert_close(case(*case.tensors(), agg=identity), case.expected(), rtol=1e-12, atol=1e-14)


@each
def test_reductions(case: Case) -> None:
    expected, arguments = case.expected(), case.tensors()
    torch.testing.assert_close(case(*arguments), expected.mean())
    for agg, value in [
        (torch.mean, expected.mean()),
        (torch.sum, expected.sum()),
        (sum, expected.sum()),
        (torch.Tensor.max, expected.max()),
        (lambda l: l.square().sum().sqrt(), expected.square().sum().sqrt()),
    ]:
        torch.testing.assert_close(case(*arguments, agg=agg), value)


# Values that Flux's own tests state, for its (class, batch) arrays transposed.
FLUX_P = torch.tensor([[0.0, 1.4, 0.5, 1.2]], dtype=torch.float64)
FLUX_Y = torch.tensor([[1.0, 0.5, 0.3, 2.4]], dtype=torch.float64)


def test_flux_values() -> None:
    y, p = torch.tensor([123.0, 456.0, 789.0]), torch.tensor([345.0, 332.0, 789.0])
    assert losses.msle(p, y).item() == pytest.approx(0.38813985859136585)
    one_hot = torch.tensor([[0, 1], [0, 1], [1, 0], [1, 0]])
    p = torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    assert crossentropy(p, one_hot).item() == pytest.approx(1.203972804325936)
    assert dice_coeff_loss(FLUX_P, FLUX_Y).item() == pytest.approx(0.28)
    assert tversky_loss(FLUX_P, FLUX_Y).item() == pytest.approx(-0.06772009029345383)
    assert tversky_loss(FLUX_P, FLUX_Y, beta=0.8).item() == pytest.approx(-0.09490740740740744)
    p = torch.softmax(torch.arange(-7.0, 8, dtype=torch.float64).reshape(5, 3), -1)
    y = torch.tensor([0, 1, 2, 1, 0])
    assert focal_loss(p, y).item() == pytest.approx(1.1277571935622628)
    y = torch.tensor([[0, 1, 0], [1, 0, 1]])
    p = torch.tensor([[0.268941, 0.5, 0.268941], [0.731059, 0.5, 0.731059]])
    assert binary_focal_loss(p, y).item() == pytest.approx(0.0728675615927385)
    p = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    assert kldivergence(p, torch.eye(2)).item() == pytest.approx(math.log(2))
    p, y = torch.tensor([0.6, 0.4, 0.1, 0.2, 0.7]), torch.tensor([1, 0, 0, 1, 1])
    assert siamese_contrastive_loss(p, y).item() == pytest.approx(0.212)


def test_dice_and_tversky_along_dimensions() -> None:
    p, y = torch.tensor(PROBABILITY), torch.tensor(BINARY)
    for loss, reference in [(dice_coeff_loss, np_dice), (tversky_loss, np_tversky)]:
        rows = torch.stack([torch.tensor(reference(a, b)) for a, b in zip(PROBABILITY, BINARY, strict=True)])
        torch.testing.assert_close(loss(p, y, dim=1, agg=identity), rows)
        torch.testing.assert_close(loss(p, y, dim=1), rows.mean())


# --- gradients ---------------------------------------------------------------------------------------------


def assert_gradient(f: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """The gradient of a number-valued function against central differences, entry by entry."""
    h = 1e-6
    steps = h * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    differences = torch.stack([(f(x + step) - f(x - step)) / (2 * h) for step in steps])
    torch.testing.assert_close(torch.func.grad(f)(x).flatten(), differences.flatten(), rtol=1e-6, atol=1e-8)


@each
def test_gradient_is_the_finite_difference(case: Case) -> None:
    yhat, y = case.tensors()
    assert_gradient(lambda p: case(p, y), yhat)


@forward_mode
@each
def test_second_derivative_and_forward_mode(case: Case) -> None:
    yhat, y = case.tensors()
    cotangent = torch.tensor(rng.normal(size=yhat.shape))
    assert_gradient(lambda p: (torch.func.grad(case)(p, y) * cotangent).sum(), yhat)
    _, tangent = torch.func.jvp(lambda p: case(p, y), (yhat,), (cotangent,))
    torch.testing.assert_close(tangent, (torch.func.grad(case)(yhat, y) * cotangent).sum())


def test_the_gradient_check_catches_a_wrong_rule() -> None:
    with pytest.raises(AssertionError, match="not close"):
        assert_gradient(lambda p: mse(p, p.detach() + 1e-3), torch.tensor(REAL))


@pytest.mark.parametrize("name", ["crossentropy", "kldivergence", "logitcrossentropy", "mse", "binarycrossentropy"])
def test_gradient_of_a_soft_target(name: str) -> None:
    loss, yhat, y = getattr(losses, name), torch.tensor(DISTRIBUTION), torch.tensor(TARGET)
    assert_gradient(lambda t: loss(yhat, t), y)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("crossentropy", {}),
        ("kldivergence", {}),
        ("binarycrossentropy", {}),
        ("focal_loss", {}),
        ("focal_loss", {"gamma": 0.5}),
        ("focal_loss", {"gamma": 0.0}),
        ("binary_focal_loss", {}),
        ("binary_focal_loss", {"gamma": 0.5}),
        ("msle", {}),
        ("dice_coeff_loss", {}),
        ("tversky_loss", {}),
    ],
)
def test_certain_predictions_have_finite_gradients(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    p = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2)), dtype=dtype, requires_grad=True)
    for target in ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5]):
        y = torch.tensor(target, dtype=dtype).expand(4, 2)
        value = getattr(losses, name)(p, y, **options)
        (slope,) = torch.autograd.grad(value, p)
        assert value.isfinite()
        assert slope.isfinite().all()


def test_certain_predictions_have_the_right_slope() -> None:
    p = torch.tensor([[0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    wrong = torch.autograd.grad(crossentropy(p, torch.tensor([0])), p)[0]
    torch.testing.assert_close(wrong, torch.tensor([[-1 / EPS, 0.0]], dtype=torch.float64))
    right = torch.autograd.grad(focal_loss(p, torch.tensor([1])), p)[0]
    assert right.abs().max() < 1e-12


def test_a_rounded_up_probability_is_no_nan() -> None:
    p = torch.tensor([[1.0000001, 0.0]])
    for gamma in (0.5, 2.0, 2.5):
        assert focal_loss(p, torch.tensor([0]), gamma=gamma).isfinite()
        assert binary_focal_loss(p, torch.tensor([[1, 0]]), gamma=gamma).isfinite()


def test_poisson_at_a_rate_of_zero() -> None:
    rate = torch.tensor([0.0, 2.0], requires_grad=True)
    value = poisson_loss(rate, torch.tensor([0, 4]), agg=torch.sum)
    assert value.item() == pytest.approx(2 - 4 * math.log(2))
    assert torch.autograd.grad(value, rate)[0].tolist() == [1, -1]
    assert poisson_loss(torch.tensor([0.0]), torch.tensor([1])) == math.inf


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_large_logits(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1000.0, -1000.0], [-1000.0, 1000.0]], dtype=dtype, requires_grad=True)
    for value, expected in (
        (logitcrossentropy(logits, torch.tensor([0, 0]), agg=identity), [0, 2000]),
        (logitcrossentropy(logits, torch.tensor([[1, 0], [1, 0]]), agg=identity), [0, 2000]),
        (logitbinarycrossentropy(logits, torch.tensor([[1, 0], [1, 1]]), agg=lambda l: l.sum(-1)), [0, 1000]),
    ):
        torch.testing.assert_close(value, torch.tensor(expected, dtype=dtype))
        assert torch.autograd.grad(value.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("target", [[[0.7, 0.0, 0.3]], [0], [[1, 0, 0]]], ids=str)
def test_a_masked_class_adds_nothing(target: list[Any]) -> None:
    y = torch.tensor(target)
    masked = torch.tensor([[0.4, -math.inf, 1.1]], requires_grad=True)
    kept = torch.tensor([[0.4, 1.1]], requires_grad=True)
    y_kept = y[:, [0, 2]] if y.ndim == 2 else y
    value, expected = logitcrossentropy(masked, y), logitcrossentropy(kept, y_kept)
    torch.testing.assert_close(value, expected)
    slope = torch.autograd.grad(value, masked)[0]
    torch.testing.assert_close(slope[:, [0, 2]], torch.autograd.grad(expected, kept)[0])
    assert slope[0, 1] == 0


# --- class indices -----------------------------------------------------------------------------------------

WITH_CLASSES = {"crossentropy": DISTRIBUTION, "logitcrossentropy": REAL, "focal_loss": DISTRIBUTION}
classified = pytest.mark.parametrize("name", sorted(WITH_CLASSES))


@classified
@pytest.mark.parametrize("agg", [torch.mean, torch.sum, sum, identity], ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3), (2, 4, 5, 3)], ids=str)
def test_indices_are_one_hot_targets(name: str, agg: Any, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    yhat = torch.rand(shape, generator=generator, dtype=torch.float64)
    yhat = yhat / yhat.sum(-1, keepdim=True)
    y = torch.randint(3, shape[:-1], generator=generator)
    one_hot = torch.eye(3)[y]
    expected = getattr(losses, name)(yhat, one_hot, agg=agg)
    for dim in range(-len(shape), len(shape)):
        moved, hot = yhat.movedim(-1, dim), one_hot.movedim(-1, dim)
        for target in (y, y.int(), y.to(torch.uint8), hot, hot.bool(), hot.int()):
            torch.testing.assert_close(getattr(losses, name)(moved, target, dim=dim, agg=agg), expected)


@classified
def test_gradient_with_indices(name: str) -> None:
    y = torch.tensor(CLASSES)
    assert_gradient(lambda p: getattr(losses, name)(p, y), torch.tensor(WITH_CLASSES[name]))


@classified
@pytest.mark.parametrize("wrong", [3, -1, -100])
@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3)], ids=str)
def test_an_index_out_of_range_is_an_error(name: str, wrong: int, shape: tuple[int, ...]) -> None:
    y = torch.zeros(shape[:-1], dtype=torch.int64)
    y[1] = wrong
    for agg in (torch.mean, identity):
        with pytest.raises((IndexError, RuntimeError), match=f"{wrong} is out of bounds"):
            getattr(losses, name)(torch.full(shape, 1 / 3), y, agg=agg)
    with pytest.raises(RuntimeError, match=f"{wrong} is out of bounds"):
        torch.vmap(getattr(losses, name))(torch.full(shape, 1 / 3), y)


@classified
def test_vmap_over_indices_is_the_batch(name: str) -> None:
    yhat, y = torch.tensor(WITH_CLASSES[name]), torch.tensor(CLASSES)
    loss = getattr(losses, name)
    torch.testing.assert_close(torch.vmap(loss)(yhat, y), loss(yhat, y, agg=identity))


# --- sizes and dtypes --------------------------------------------------------------------------------------


@each_loss
@pytest.mark.parametrize(
    ("yhat", "y"), [((4, 1), (4,)), ((4,), (4, 1)), ((4, 3), (1, 3)), ((4, 3), (3, 4)), ((4, 3), ())], ids=str
)
def test_sizes_must_agree(case: Case, yhat: tuple[int, ...], y: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="broadcast") as error:
        case(torch.rand(yhat), torch.rand(y))
    assert f"yhat of shape {yhat}" in str(error.value)
    assert f"y of shape {y}" in str(error.value)


def test_advice_on_sizes() -> None:
    with pytest.raises(ValueError, match=r"squeeze a \(B, 1\) to \(B,\)"):
        mse(torch.zeros(3, 1), torch.zeros(3))
    with pytest.raises(ValueError, match=r"torch.float32. .* Class indices lack `dim`"):
        logitcrossentropy(torch.zeros(3, 2), torch.zeros(3))


def test_an_integer_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match=r"given yhat of shape \(2,\), torch.int64 .* needs a floating yhat"):
        mse(torch.tensor([1, 2]), torch.tensor([0.5, 0.5]))


@each_loss
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_dtype_of_the_prediction_is_kept(case: Case, dtype: torch.dtype) -> None:
    yhat, y = case.tensors()
    close = {"rtol": 20 * torch.finfo(dtype).eps, "atol": 20 * torch.finfo(dtype).eps}
    value = case(yhat.to(dtype), y)  # a float64 target does not promote
    assert value.dtype == dtype
    torch.testing.assert_close(value.double(), case(yhat, y), **close)
    assert torch.func.grad(case)(yhat.to(dtype), y).dtype == dtype


@each_loss
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64], ids=str)
def test_targets_of_integers_and_booleans(case: Case, dtype: torch.dtype) -> None:
    yhat, _ = case.tensors(torch.float32)
    y = torch.tensor(ONE_HOT).to(dtype)
    torch.testing.assert_close(case(yhat, y), case(yhat, y.float()))


@each_loss
def test_a_batch_of_one_and_of_none(case: Case) -> None:
    yhat, y = case.tensors()
    if case.name not in {"dice_coeff_loss", "tversky_loss"}:
        torch.testing.assert_close(case(yhat[:1], y[:1]), case.expected()[:1].mean())
        assert case(yhat[:0], y[:0]).isnan()
        assert case(yhat[:0], y[:0], agg=identity).shape == (0, *case.expected().shape[1:])
    else:  # one number for everything, smoothed: of nothing it is 0
        assert case(yhat[:0], y[:0]) == 0
    assert case(yhat[:0], y[:0], agg=torch.sum) == 0


def test_indices_of_an_empty_batch() -> None:
    logits, y = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)
    assert logitcrossentropy(logits, y).isnan()
    assert logitcrossentropy(logits, y, agg=torch.sum) == 0
    assert logitcrossentropy(torch.zeros(0, 2, 3), y.expand(0).reshape(0, 1).expand(0, 2), agg=identity).shape == (0, 2)


def test_half_precision_masks_larger_than_65504() -> None:
    mask = torch.ones(300, 300, dtype=torch.float16)
    assert dice_coeff_loss(mask, mask) == 0
    assert tversky_loss(mask, mask) == 0
    assert dice_coeff_loss(torch.zeros_like(mask), mask) == pytest.approx(1, abs=1e-3)


# --- label smoothing ---------------------------------------------------------------------------------------


def test_label_smoothing() -> None:
    y = torch.tensor([[0, 1, 0], [1, 0, 0]])
    expected = torch.tensor([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
    torch.testing.assert_close(label_smoothing(y, 0.3), expected)
    torch.testing.assert_close(label_smoothing(y.bool(), 0.3), expected)
    torch.testing.assert_close(label_smoothing(y.T, 0.3, dim=0), expected.T)
    torch.testing.assert_close(label_smoothing(torch.tensor([0, 1]), 0.2, dim=None), torch.tensor([0.1, 0.9]))
    assert label_smoothing(y.half(), 0.3).dtype == torch.float16
    assert label_smoothing(y.double(), 0).tolist() == y.tolist()
    for alpha in (-0.1, 1.0, 1.2):
        with pytest.raises(ValueError, match=rf"alpha must be in \[0, 1\), given {alpha}"):
            label_smoothing(y, alpha)


# --- transforms --------------------------------------------------------------------------------------------


@each_loss
def test_vmap_is_the_loop(case: Case) -> None:
    yhat, y = case.tensors()
    loop = torch.stack([case(*pair) for pair in zip(yhat, y, strict=True)])
    torch.testing.assert_close(torch.vmap(case)(yhat, y), loop)
    slopes = torch.vmap(torch.func.grad(case))(yhat, y)
    torch.testing.assert_close(slopes, torch.stack([torch.func.grad(case)(*p) for p in zip(yhat, y, strict=True)]))


def test_compiled_is_eager() -> None:
    pairs = [(case, *case.tensors(torch.float32)) for case in FIRST]
    classes = torch.tensor(CLASSES)

    def total(logits: Tensor) -> Tensor:
        result = crossentropy(logits.softmax(-1), classes) + focal_loss(logits.softmax(0), classes[1:], dim=0)
        for agg in (torch.mean, sum, lambda l: l.max()):
            result = result + logitcrossentropy(logits, classes, agg=agg)
        for case, yhat, y in pairs:
            result = result + case(yhat * logits.sigmoid().mean(), y)
        return result

    logits = torch.tensor(REAL, dtype=torch.float32, requires_grad=True)
    compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits), total(logits))
    torch.testing.assert_close(*(torch.autograd.grad(f(logits), logits)[0] for f in (compiled, total)))


# --- ctc ---------------------------------------------------------------------------------------------------


def np_ctc(logits: Array, labels: list[int], blank: int) -> float:
    """-log of the summed probability of every path that collapses to the labels, by listing all C^T of them."""
    p = np.exp(np_logsoftmax(logits))
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        if [c for c, _ in itertools.groupby(path) if c != blank] == labels:
            total += np.prod([p[t, c] for t, c in enumerate(path)])
    return -math.log(total)


CTC_LOGITS = rng.normal(size=(5, 2, 4))


@pytest.mark.parametrize("blank", [0, 3])
def test_ctc_sums_over_all_alignments(blank: int) -> None:
    logits, y = torch.tensor(CTC_LOGITS), torch.tensor([[1, 2], [2, 2]])
    expected = torch.tensor([np_ctc(CTC_LOGITS[:, n], y[n].tolist(), blank) for n in range(2)], dtype=torch.float64)
    torch.testing.assert_close(ctc_loss(logits, y, blank=blank, agg=identity), expected)
    torch.testing.assert_close(ctc_loss(logits, y, blank=blank), expected.mean())
    torch.testing.assert_close(ctc_loss(logits[:, 1], y[1], blank=blank), expected[1])
    assert_gradient(lambda x: ctc_loss(x, y, blank=blank), logits)


def test_ctc_lengths_cut_the_padding() -> None:
    logits, y = torch.tensor(CTC_LOGITS), torch.tensor([[1, 2], [3, -1]])
    value = ctc_loss(logits, y, lengths=(torch.tensor([5, 3]), torch.tensor([2, 1])), agg=identity)
    expected = [np_ctc(CTC_LOGITS[:, 0], [1, 2], 0), np_ctc(CTC_LOGITS[:3, 1], [3], 0)]
    assert value.tolist() == pytest.approx(expected)


def test_ctc_dtypes_and_impossible_targets() -> None:
    for dtype in FLOATS:
        value = ctc_loss(torch.tensor(CTC_LOGITS, dtype=dtype), torch.tensor([[1, 2], [2, 2]]))
        assert value.dtype == dtype
        assert value.item() == pytest.approx(
            (np_ctc(CTC_LOGITS[:, 0], [1, 2], 0) + np_ctc(CTC_LOGITS[:, 1], [2, 2], 0)) / 2, rel=0.02
        )
    assert ctc_loss(torch.zeros(2, 3), torch.tensor([1, 1])) == math.inf


def test_ctc_refuses_what_pytorch_reads_past_the_end() -> None:
    logits = torch.zeros(5, 2, 4)
    for wrong in (4, -1, 1000):
        with pytest.raises(RuntimeError, match=f"{wrong} is out of bounds"):
            ctc_loss(logits, torch.tensor([[1, 2], [1, wrong]]))
    for shape in [(3, 2), (2,), (2, 2, 2)]:
        with pytest.raises(ValueError, match=r"ctc_loss needs shapes \(T, N, C\) and \(N, S\), .* given \(5, 2, 4\)"):
            ctc_loss(logits, torch.ones(shape, dtype=torch.int64))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_ctc_under_vmap() -> None:
    logits, y = torch.tensor(CTC_LOGITS), torch.tensor([[1, 2], [2, 2]])
    torch.testing.assert_close(torch.vmap(ctc_loss, in_dims=(1, 0))(logits, y), ctc_loss(logits, y, agg=identity))
