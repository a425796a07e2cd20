"""Initialisers: moments and bounds in closed form, generators, currying, and what is refused."""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchflux import _init
from torchflux._init import (
    glorot_normal,
    glorot_uniform,
    identity_init,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    nfan,
    ones,
    orthogonal,
    rand,
    randn,
    sparse_init,
    truncated_normal,
    zeros,
)

OPTIONS: dict[str, dict[str, Any]] = {"sparse_init": {"sparsity": 0.5}}
NAMES = sorted(set(_init.__all__) - {"nfan"})
RANDOM = sorted(set(NAMES) - {"zeros", "ones", "identity_init"})
each = pytest.mark.parametrize("name", NAMES)


def named(name: str) -> Callable[..., Tensor]:
    return partial(getattr(_init, name), **OPTIONS.get(name, {}))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- fans --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "fans"),
    [
        (nn.Linear(3, 5), (3, 5)),
        (nn.Conv1d(3, 5, 7), (3 * 7, 5 * 7)),
        (nn.Conv2d(3, 5, (2, 7)), (3 * 14, 5 * 14)),
        (nn.Conv3d(3, 5, (2, 3, 7)), (3 * 42, 5 * 42)),
        (nn.Conv2d(6, 6, 3, groups=6), (9, 6 * 9)),
    ],
    ids=repr,
)
def test_fans_of_pytorchs_layouts(module: nn.Module, fans: tuple[int, int]) -> None:
    shape = module.get_parameter("weight").shape
    assert nfan(*shape) == fans == nn.init._calculate_fan_in_and_fan_out(module.get_parameter("weight"))


def test_fans_of_a_vector_are_flux_s() -> None:
    assert nfan(7) == (1, 7)


# --- distributions -----------------------------------------------------------------------------------------

SHAPE = (40, 50, 3, 7)  # fans 1050 and 840, 42000 values
# Standard deviation of N(0, 1) truncated to [-2, 2]; Keras and JAX write the same number in their sources.
TRUNCATED = 0.87962566103423978

Cdf = Callable[[float], float]


def uniform(low: float, high: float) -> Cdf:
    return lambda x: min(max((x - low) / (high - low), 0.0), 1.0)


def normal(mean: float, std: float) -> Cdf:
    return lambda x: 0.5 * math.erfc(-(x - mean) / std / math.sqrt(2))


def truncated(mean: float, std: float, lo: float, hi: float) -> Cdf:
    whole = normal(mean, std)
    return lambda x: (whole(min(max(x, lo), hi)) - whole(lo)) / (whole(hi) - whole(lo))


def assert_distribution(sample: Tensor, cdf: Cdf) -> None:
    """Kolmogorov's test at level 1e-4: sup |F_n - F| < 2.2 / sqrt(n). The seeds are fixed."""
    values = sample.double().flatten().sort().values.tolist()
    n = len(values)
    distance = max(abs(cdf(x) - (k + 0.5) / n) for k, x in enumerate(values))
    assert distance < 2.2 / math.sqrt(n)


G, K = math.sqrt(6 / 1890), math.sqrt(6 / 1050)  # the bounds by hand
L = 1 / math.sqrt(1050) / TRUNCATED


@pytest.mark.parametrize(
    ("init", "cdf", "bound", "std"),
    [
        (glorot_uniform, uniform(-G, G), G, G / 3**0.5),
        (glorot_uniform(gain=2.0), uniform(-2 * G, 2 * G), 2 * G, 2 * G / 3**0.5),
        (glorot_normal, normal(0, (2 / 1890) ** 0.5), math.inf, (2 / 1890) ** 0.5),
        (glorot_normal(gain=0.5), normal(0, (0.5 / 1890) ** 0.5), math.inf, (0.5 / 1890) ** 0.5),
        (kaiming_uniform, uniform(-K, K), K, (2 / 1050) ** 0.5),
        (kaiming_uniform(gain=1), uniform(-K / 2**0.5, K / 2**0.5), K / 2**0.5, (1 / 1050) ** 0.5),
        (kaiming_normal, normal(0, (2 / 1050) ** 0.5), math.inf, (2 / 1050) ** 0.5),
        (kaiming_normal(gain=1.4), normal(0, 1.4 / 1050**0.5), math.inf, 1.4 / 1050**0.5),
        (lecun_normal, truncated(0, L, -2 * L, 2 * L), 2 * L, (1 / 1050) ** 0.5),
        (lecun_normal(gain=3.0), truncated(0, 3 * L, -6 * L, 6 * L), 6 * L, 3 / 1050**0.5),
        (truncated_normal, truncated(0, 1, -2, 2), 2, TRUNCATED),
        (truncated_normal(mean=1, std=2, lo=0.5, hi=4), truncated(1, 2, 0.5, 4), 4, None),
        (rand, uniform(0, 1), 1, 1 / 12**0.5),
        (randn, normal(0, 1), math.inf, 1),
    ],
)
def test_distribution(init: Callable[..., Tensor], cdf: Cdf, bound: float, std: float | None) -> None:
    sample = init(*SHAPE, generator=seeded())
    assert_distribution(sample, cdf)
    assert sample.abs().max() <= bound * (1 + 1e-6)
    if std is not None:
        assert sample.std().item() == pytest.approx(std, rel=0.02)


def test_the_distribution_check_catches_a_wrong_scale() -> None:
    sample = kaiming_normal(*SHAPE, gain=1.5, generator=seeded())
    with pytest.raises(AssertionError):
        assert_distribution(sample, normal(0, 1.4 / 1050**0.5))


def test_lecun_has_the_stated_standard_deviation() -> None:
    sample = lecun_normal(500, 400, generator=seeded())
    assert sample.std().item() == pytest.approx(1 / 20, rel=0.01)
    assert sample.abs().max() <= 2 / 20 / TRUNCATED * (1 + 1e-6)


def test_a_narrow_window_far_from_the_mean() -> None:
    sample = truncated_normal(1000, mean=0, std=1, lo=1.5, hi=1.75, generator=seeded())
    assert_distribution(sample, truncated(0, 1, 1.5, 1.75))


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (6, 6), (4, 3, 2, 5), (9, 2, 2)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_orthogonal_rows_or_columns(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    w = orthogonal(*shape, gain=3.0, dtype=dtype, generator=seeded())
    matrix = w.double().flatten(1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    assert w.dtype == dtype
    tolerance = 60 * torch.finfo(dtype).eps
    torch.testing.assert_close(gram, 9 * torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("sparsity", "zeros_per_column"), [(0, 0), (0.1, 1), (0.25, 3), (0.9, 9), (1, 10)])
def test_sparse_columns(sparsity: float, zeros_per_column: int) -> None:
    w = sparse_init(10, 300, sparsity=sparsity, std=0.5, generator=seeded())
    assert ((w == 0).sum(0) == zeros_per_column).all()
    if 0 < sparsity < 1:  # every row is hit about equally: binomial(300, k/10), five standard deviations
        share = zeros_per_column / 10
        spread = 5 * math.sqrt(300 * share * (1 - share))
        assert ((w == 0).sum(1) - 300 * share).abs().max() <= spread
    if sparsity < 1:
        assert_distribution(w[w != 0], normal(0, 0.5))


# --- identity ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [(3,), (4,), (3, 5), (2, 3), (3, 2, 1)])
@pytest.mark.parametrize("channels", [(2, 2), (3, 2), (2, 3)])
def test_identity_convolution(kernel: tuple[int, ...], channels: tuple[int, int]) -> None:
    out, within = channels
    x = torch.randn(4, within, *range(5, 5 + len(kernel)), generator=seeded())
    conv = [nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d][len(kernel) - 1]
    padding = [p for k in reversed(kernel) for p in ((k - 1) // 2, k // 2)]  # padding="same"
    y = conv(nn.functional.pad(x, padding), identity_init(out, within, *kernel, gain=2.0))
    shared = min(out, within)
    torch.testing.assert_close(y[:, :shared], 2 * x[:, :shared])
    assert not y[:, shared:].any()


def test_identity_matrix_and_bias() -> None:
    assert identity_init(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert identity_init(3, 2, gain=4).tolist() == [[4, 0], [0, 4], [0, 0]]
    assert identity_init(3).tolist() == [0, 0, 0]


def test_identity_shift() -> None:
    assert identity_init(3, 3, shift=1).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert identity_init(2, 3, shift=(0, 1)).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert identity_init(1, 1, 3, shift=(0, 0, 1)).tolist() == [[[0, 0, 1]]]


def test_constants() -> None:
    assert zeros(2, 3).tolist() == [[0, 0, 0]] * 2
    assert ones(2, 3).tolist() == [[1, 1, 1]] * 2


# --- one form for all --------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_a_fresh_plain_tensor_of_the_dtype(name: str, dtype: torch.dtype) -> None:
    w = named(name)(6, 4, dtype=dtype)
    assert (type(w), w.dtype, w.shape, w.requires_grad) == (Tensor, dtype, (6, 4), False)
    assert w.isfinite().all()
    assert w.is_contiguous()


@each
def test_the_default_dtype_and_device(name: str) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            w = named(name)(3, 4)
    finally:
        torch.set_default_dtype(before)
    assert w.dtype == torch.float64
    assert w.is_meta
    assert named(name)(3, 4).dtype == torch.float32


@each
def test_the_meta_device(name: str) -> None:
    w = named(name)(3, 4, device="meta", generator=seeded(), dtype=torch.bfloat16)
    assert (w.device.type, w.shape, w.dtype) == ("meta", (3, 4), torch.bfloat16)


@each
def test_currying(name: str) -> None:
    init = named(name)
    curried = init(generator=seeded(1))(dtype=torch.float64)
    assert torch.equal(curried(4, 3), init(4, 3, generator=seeded(1), dtype=torch.float64))
    assert curried(4, 3, dtype=torch.float32).dtype == torch.float32


@each
def test_a_parameter_can_be_made_of_it(name: str) -> None:
    parameter = nn.Parameter(named(name)(4, 3))
    (parameter * 2).sum().backward()
    assert parameter.grad is not None


@pytest.mark.parametrize("name", RANDOM)
def test_the_generator_decides_and_the_global_state_stays(name: str) -> None:
    init = named(name)
    state = torch.get_rng_state()
    first = init(8, 8, generator=seeded(5))
    assert torch.equal(first, init(8, 8, generator=seeded(5)))
    assert not torch.equal(first, init(8, 8, generator=seeded(6)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", RANDOM)
def test_without_a_generator_the_global_seed_decides(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        first = named(name)(8, 8)
        torch.manual_seed(7)
        assert torch.equal(first, named(name)(8, 8))


@each
def test_sizes_of_zero_and_one(name: str) -> None:
    for shape in [(0, 3), (3, 0), (0, 0), (1, 1)]:
        assert named(name)(*shape).shape == shape


@each
def test_docstring_and_signature_are_its_own(name: str) -> None:
    init = getattr(_init, name)
    assert init.__name__ == name
    assert str(inspect.signature(init)).startswith("(*shape: int")


# --- refusals ----------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("shape", [((3, 4),), (3, -1), (2.0, 3), ("a", 2)], ids=str)
def test_a_shape_that_is_no_list_of_sizes(name: str, shape: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        named(name)(*shape)


def test_bad_arguments_say_what_is_expected() -> None:
    with pytest.raises(ValueError, match="2 or more dimensions"):
        orthogonal(3)
    with pytest.raises(ValueError, match=r"sparse_init makes \(out, in\) matrices, .* given \(3, 4, 5\)"):
        sparse_init(3, 4, 5, sparsity=0.5)
    with pytest.raises(ValueError, match=r"0 <= sparsity <= 1, given \(3, 4\), sparsity=1.5"):
        sparse_init(3, 4, sparsity=1.5)
    with pytest.raises(ValueError, match="std > 0 and lo < hi, given std=0, lo=-2"):
        truncated_normal(3, std=0)
    with pytest.raises(ValueError, match="lo=2, hi=1"):
        truncated_normal(3, lo=2, hi=1)
    with pytest.raises(TypeError, match="sparsity"):
        sparse_init(3, 4)
    with pytest.raises(TypeError, match="gian"):
        kaiming_normal(gian=2.0)(3, 4)
