"""What every layer promises, for every layer: PyTorch's values, gradients, transforms, copies, dtypes, sizes."""

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from torchflux import autosize, outputsize
from torchflux.layers import (
    GRU,
    LSTM,
    RNN,
    AdaptiveMaxPool,
    AdaptiveMeanPool,
    BatchNorm,
    Bilinear,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    Embedding,
    EmbeddingBag,
    GlobalMaxPool,
    GlobalMeanPool,
    GroupNorm,
    GRUCell,
    InstanceNorm,
    LayerNorm,
    LSTMCell,
    MaxPool,
    MeanPool,
    MultiHeadAttention,
    PixelShuffle,
    RNNCell,
    SamePad,
    Scale,
    Upsample,
    WeightNorm,
)

# torch.func.jvp and friends register their rules with torch.jit the first time.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")


class Case(NamedTuple):
    make: Callable[[], Any]
    shape: tuple[int, ...]  # of the input, batch first
    twin: Callable[[], nn.Module] | None = None
    integers: int = 0  # the input holds indices below this


CASES = {
    "Dense": Case(lambda: Dense(3, 4, torch.tanh), (2, 3), lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh())),
    "Dense no bias": Case(lambda: Dense(3, 4, bias=False), (2, 5, 3), lambda: nn.Linear(3, 4, bias=False)),
    "Scale": Case(lambda: Scale(3, 4, torch.tanh), (2, 3, 4)),
    "Bilinear": Case(lambda: Bilinear((3, 3), 4, bias=False), (2, 3)),
    "Embedding": Case(lambda: Embedding(7, 3), (2, 5), lambda: nn.Embedding(7, 3), 7),
    "EmbeddingBag mean": Case(lambda: EmbeddingBag(7, 3), (2, 5), lambda: nn.EmbeddingBag(7, 3), 7),
    "EmbeddingBag max": Case(lambda: EmbeddingBag(7, 3, "max"), (2, 5), lambda: nn.EmbeddingBag(7, 3, mode="max"), 7),
    "Conv 1d": Case(lambda: Conv((3,), 2, 4, pad=1), (2, 2, 6), lambda: nn.Conv1d(2, 4, 3, padding=1)),
    "Conv 2d": Case(
        lambda: Conv((3, 2), 2, 4, stride=(2, 1), pad=(1, 0), dilation=2, groups=2, bias=False),
        (2, 2, 7, 6),
        lambda: nn.Conv2d(2, 4, (3, 2), (2, 1), (1, 0), 2, groups=2, bias=False),
    ),
    "Conv 3d": Case(lambda: Conv((2, 2, 1), 2, 3), (2, 2, 3, 3, 2), lambda: nn.Conv3d(2, 3, (2, 2, 1))),
    "Conv uneven": Case(lambda: Conv((2, 2), 2, 3, pad=SamePad()), (2, 2, 4, 5)),
    "ConvTranspose": Case(
        lambda: ConvTranspose((3, 2), 2, 4, stride=2, pad=1, outpad=(0, 1), dilation=2, groups=2),
        (2, 2, 4, 3),
        lambda: nn.ConvTranspose2d(2, 4, (3, 2), 2, 1, (0, 1), 2, dilation=2),
    ),
    "ConvTranspose uneven": Case(lambda: ConvTranspose((2, 4), 2, 3, pad=SamePad(), stride=2), (2, 2, 4, 3)),
    "DepthwiseConv": Case(lambda: DepthwiseConv((2, 2), 2, 4), (2, 2, 3, 3), lambda: nn.Conv2d(2, 4, 2, groups=2)),
    "MaxPool": Case(lambda: MaxPool((2, 3), pad=1, stride=2), (2, 2, 5, 6), lambda: nn.MaxPool2d((2, 3), 2, 1)),
    "MeanPool": Case(lambda: MeanPool((3,)), (2, 2, 7), lambda: nn.AvgPool1d(3)),
    "AdaptiveMaxPool": Case(lambda: AdaptiveMaxPool((2, 3)), (2, 2, 5, 6), lambda: nn.AdaptiveMaxPool2d((2, 3))),
    "AdaptiveMeanPool": Case(
        lambda: AdaptiveMeanPool((2, 1, 2)), (2, 2, 3, 2, 4), lambda: nn.AdaptiveAvgPool3d((2, 1, 2))
    ),
    "GlobalMaxPool": Case(lambda: GlobalMaxPool(), (2, 2, 3, 4), lambda: nn.AdaptiveMaxPool2d(1)),
    "GlobalMeanPool": Case(lambda: GlobalMeanPool(), (2, 2, 6), lambda: nn.AdaptiveAvgPool1d(1)),
    "LayerNorm": Case(lambda: LayerNorm(3, 4), (2, 3, 4), lambda: nn.LayerNorm((3, 4))),
    "LayerNorm plain": Case(
        lambda: LayerNorm(4, affine=False), (2, 4), lambda: nn.LayerNorm(4, elementwise_affine=False)
    ),
    "GroupNorm": Case(lambda: GroupNorm(4, 2), (2, 4, 3), lambda: nn.GroupNorm(2, 4)),
    "BatchNorm": Case(lambda: BatchNorm(3).eval(), (4, 3, 2, 2), lambda: nn.BatchNorm2d(3).eval()),
    "InstanceNorm": Case(lambda: InstanceNorm(3), (2, 3, 4), lambda: nn.InstanceNorm1d(3)),
    "InstanceNorm affine": Case(
        lambda: InstanceNorm(3, affine=True), (2, 3, 2, 2), lambda: nn.InstanceNorm2d(3, affine=True)
    ),
    "InstanceNorm tracked": Case(
        lambda: InstanceNorm(3, affine=True, track_stats=True).eval(),
        (2, 3, 2, 2),
        lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True).eval(),
    ),
    "WeightNorm": Case(lambda: WeightNorm(Dense(3, 4)), (2, 3)),
    "RNNCell": Case(lambda: RNNCell(3, 4), (2, 3), lambda: nn.RNNCell(3, 4)),
    "LSTMCell": Case(lambda: LSTMCell(3, 4), (2, 3), lambda: nn.LSTMCell(3, 4)),
    "GRUCell": Case(lambda: GRUCell(3, 4), (2, 3), lambda: nn.GRUCell(3, 4)),
    "RNN": Case(lambda: RNN(3, 4), (2, 3, 3), lambda: nn.RNN(3, 4, batch_first=True)),
    "RNN relu": Case(lambda: RNN(3, 4, torch.relu), (2, 3, 3), lambda: nn.RNN(3, 4, 1, "relu", batch_first=True)),
    "LSTM": Case(lambda: LSTM(3, 4), (2, 3, 3), lambda: nn.LSTM(3, 4, batch_first=True)),
    "GRU": Case(lambda: GRU(3, 4, bias=False), (2, 3, 3), lambda: nn.GRU(3, 4, batch_first=True, bias=False)),
    "MultiHeadAttention": Case(lambda: MultiHeadAttention(4, 2), (2, 3, 4)),
    "Upsample": Case(lambda: Upsample("bilinear", scale=2), (2, 1, 2, 3), lambda: nn.Upsample(None, 2, "bilinear")),
    "PixelShuffle": Case(lambda: PixelShuffle(2), (2, 4, 2, 3), lambda: nn.PixelShuffle(2)),
}
PARAMETERS = {name: case for name, case in CASES.items() if list(case.make().parameters())}


def each(cases: dict[str, Case], without: str = "") -> Any:
    chosen = {name: case for name, case in cases.items() if not without or without not in name}
    return pytest.mark.parametrize("case", chosen.values(), ids=chosen.keys())


def example(case: Case, dtype: torch.dtype = torch.float64) -> tuple[Any, Tensor]:
    """The layer with random parameters, and an input."""
    torch.manual_seed(0)
    layer = case.make().to(dtype)
    for p in layer.parameters():
        p.data.normal_().mul_(0.5).add_(0.2)
    for name, buffer in layer.named_buffers():
        if name.startswith("running"):
            buffer.uniform_(0.5, 2)
    x = torch.randint(case.integers, case.shape) if case.integers else torch.randn(case.shape, dtype=dtype)
    return layer, x


def result(y: Any) -> Tensor:
    """The tensor that counts, of a layer that returns several."""
    return y[0] if isinstance(y, tuple) else y


def named(twin: nn.Module, layer: nn.Module) -> dict[str, Tensor]:
    """The state_dict of PyTorch's layer; that of its recurrent layers with our names."""
    cell = "cell." if hasattr(layer, "cell") else ""
    return {cell + name.replace("_l0", ""): value for name, value in twin.state_dict().items()}


def call(layer: Any, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    return result(functional_call(layer, parameters, (x,)))


@each({name: case for name, case in CASES.items() if case.twin})
def test_values_and_gradients_are_pytorchs(case: Case) -> None:
    layer, x = example(case, torch.float32)
    twin = case.twin()  # type: ignore[misc]
    body = twin[0] if isinstance(twin, nn.Sequential) else twin
    for parameter in body.parameters():
        nn.init.normal_(parameter)
    layer.load_state_dict(named(body, layer), strict=True)
    ours, theirs = x.clone(), x.clone()
    for leaf in (ours, theirs):
        leaf.requires_grad_(not case.integers)
    y, ȳ = result(layer(ours)), result(twin(theirs))
    torch.testing.assert_close(y, ȳ)
    y.square().sum().backward()
    ȳ.square().sum().backward()
    for a, b in zip([ours, *layer.parameters()], [theirs, *twin.parameters()], strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@each({name: case for name, case in CASES.items() if case.twin}, without="RNN relu")
def test_state_dict_is_pytorchs(case: Case) -> None:
    twin = case.twin()  # type: ignore[misc]
    body = twin[0] if isinstance(twin, nn.Sequential) else twin
    layer = case.make()
    assert layer.state_dict().keys() == named(body, layer).keys()


@each(CASES)
def test_gradient_is_finite_difference(case: Case) -> None:
    layer, x = example(case)
    names = [name for name, _ in layer.named_parameters()]
    inputs = [p.detach().requires_grad_() for p in layer.parameters()]
    if not case.integers:
        inputs.append(x.requires_grad_())

    def f(*values: Tensor) -> Tensor:
        return call(layer, dict(zip(names, values, strict=False)), x if case.integers else values[-1])

    assert torch.autograd.gradcheck(f, inputs, fast_mode=True)
    if not isinstance(layer, EmbeddingBag | MultiHeadAttention):  # whose kernels have no second derivative
        assert torch.autograd.gradgradcheck(f, inputs, fast_mode=True)


@each(PARAMETERS)
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # EmbeddingBag's, lane by lane
def test_per_sample_gradients_are_the_loops(case: Case) -> None:
    layer, x = example(case)
    parameters = dict(layer.named_parameters())

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return call(layer, parameters, x[None]).square().sum()

    batched = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for i in range(len(x)):
        alone = torch.autograd.grad(loss(parameters, x[i]), [*parameters.values()])
        torch.testing.assert_close([g[i] for g in batched.values()], [*alone])


@each(PARAMETERS)
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_an_ensemble_is_its_members(case: Case) -> None:
    members = [example(case)[0] for _ in range(3)]
    for i, member in enumerate(members):
        for p in member.parameters():
            p.data.add_(0.1 * i)
    x = example(case)[1]
    stacked = stack_module_state(members)
    y = vmap(lambda p, b: result(functional_call(members[0], (p, b), (x,))))(*stacked)
    torch.testing.assert_close(y, torch.stack([result(member(x)) for member in members]))


@pytest.mark.parametrize("name", ["MultiHeadAttention", "LSTM"])
def test_transforms_have_second_derivatives_where_kernels_have_none(name: str) -> None:
    layer, x = example(CASES[name])
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    v = {name: torch.randn_like(p) for name, p in parameters.items()}

    def slope(t: Tensor) -> Tensor:  # of the loss, along v, at parameters + t v
        moved = {name: p + t * v[name] for name, p in parameters.items()}
        gradients = grad(lambda p: call(layer, p, x).pow(3).sum())(moved)
        return sum(((g * v[name]).sum() for name, g in gradients.items()), start=torch.zeros(()))

    t, h = torch.zeros((), dtype=torch.float64), 1e-5
    torch.testing.assert_close(grad(slope)(t), (slope(t + h) - slope(t - h)) / (2 * h), rtol=1e-6, atol=1e-6)


@each({name: case for name, case in CASES.items() if not case.integers})
def test_forward_mode_is_reverse_mode(case: Case) -> None:
    layer, x = example(case)
    v, w = torch.randn_like(x), torch.randn_like(result(layer(x)))
    _, tangent = torch.func.jvp(lambda x: result(layer(x)), (x,), (v,))
    _, pullback = torch.func.vjp(lambda x: result(layer(x)), x)
    torch.testing.assert_close((tangent * w).sum(), (pullback(w)[0] * v).sum())


@each(CASES)
def test_copies_compute_the_same_and_share_nothing(case: Case) -> None:
    layer, x = example(case)
    y = result(layer(x))
    fresh = case.make().double()
    fresh.load_state_dict(layer.state_dict(), strict=True)
    for twin in (copy.deepcopy(layer), fresh):
        torch.testing.assert_close(result(twin(x)), y, rtol=0, atol=0)
        for p in twin.parameters():
            p.data.zero_()
    torch.testing.assert_close(result(layer(x)), y, rtol=0, atol=0)


@each(CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_dtype_is_kept(case: Case, dtype: torch.dtype) -> None:
    layer, x = example(case, dtype)
    y = result(layer(x))
    assert y.dtype == dtype
    exact = copy.deepcopy(layer).float()
    close = {"rtol": 0.1, "atol": 0.1} if dtype.itemsize == 2 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(y.float(), result(exact(x if case.integers else x.float())), **close)


@each(CASES)
def test_the_size_is_known_without_computing(case: Case) -> None:
    layer, x = example(case, torch.float32)
    size = outputsize(layer.eval(), tuple(x.shape), dtype=x.dtype)
    assert tuple(result(layer(x)).shape) == (size if isinstance(size[0], int) else size[0])


@each(CASES)
def test_a_batch_of_one_is_the_first_of_the_batch(case: Case) -> None:
    layer, x = example(case)
    torch.testing.assert_close(result(layer(x[:1])), result(layer(x))[:1])


def test_open_sizes_are_filled_in() -> None:
    sizes: list[tuple[Callable[[Any], Any], tuple[int, ...]]] = [
        (lambda n: Dense(n, 4), (2, 3)),
        (lambda n: Scale(n), (2, 3)),
        (lambda n: Conv((2,), n, 4), (2, 3, 5)),
        (lambda n: ConvTranspose((2,), n, 4), (2, 3, 5)),
        (lambda n: DepthwiseConv((2,), n, 6, torch.relu), (2, 3, 5)),
        (lambda n: LayerNorm(n, torch.relu), (2, 3)),
        (lambda n: BatchNorm(n), (2, 3, 4)),
        (lambda n: InstanceNorm(n, affine=True), (2, 3, 4)),
        (lambda n: InstanceNorm(n, track_stats=True), (2, 3, 4)),
        (lambda n: GroupNorm(n, 3), (2, 3, 4)),
        (lambda n: GRUCell(n, 4), (2, 3)),
        (lambda n: LSTM(n, 4), (2, 5, 3)),
    ]
    for make, shape in sizes:
        filled, given = autosize(shape, make(...)), make(3)
        assert type(filled) is type(given)
        shapes = [{k: v.shape for k, v in layer.state_dict().items()} for layer in (filled, given)]
        assert shapes[0] == shapes[1]


KEYWORDS: dict[Callable[..., Any], str] = {
    Dense: "nin nout activation bias init",
    Scale: "size bias init",
    Conv: "kernel nin nout activation stride pad dilation bias init groups",
    ConvTranspose: "kernel nin nout activation stride pad dilation bias init groups outpad",
    DepthwiseConv: "kernel nin nout activation stride pad dilation bias init",
    LayerNorm: "size affine eps",
    GroupNorm: "channels groups activation affine eps",
    BatchNorm: "channels activation affine eps momentum",
    InstanceNorm: "channels activation affine eps momentum track_stats",
    RNNCell: "nin nout activation bias init_ih init_hh",
    LSTMCell: "nin nout bias init_ih init_hh",
    RNN: "nin nout activation bias init_ih init_hh return_state",
    LSTM: "nin nout bias init_ih init_hh return_state",
    GRU: "nin nout bias init_ih init_hh return_state",
    Upsample: "mode scale size align_corners",
}


@pytest.mark.parametrize("make", KEYWORDS, ids=lambda make: make.__name__)
def test_signatures_name_every_keyword(make: Callable[..., Any]) -> None:
    assert " ".join(inspect.signature(make).parameters) == KEYWORDS[make]


def test_the_defaults_that_are_shown_are_those_that_hold() -> None:
    assert inspect.signature(InstanceNorm).parameters["affine"].default is False
    assert inspect.signature(BatchNorm).parameters["affine"].default is True
    assert inspect.signature(Conv).parameters["stride"].default == Conv((1,), 1, 1).stride == 1
    assert inspect.signature(RNNCell).parameters["activation"].default is RNNCell(1, 1).activation


def test_layers_can_be_pickled() -> None:
    for case in CASES.values():
        layer, x = example(case)
        torch.testing.assert_close(result(pickle.loads(pickle.dumps(layer))(x)), result(layer(x)))


def test_one_graph_is_compiled_for_many_layers() -> None:
    names = ["Conv uneven", "ConvTranspose", "MaxPool", "LayerNorm", "GroupNorm", "BatchNorm", "InstanceNorm affine"]
    names += ["WeightNorm", "LSTMCell", "RNN", "LSTM", "GRU", "MultiHeadAttention", "Upsample", "EmbeddingBag mean"]
    examples = [example(CASES[name], torch.float32) for name in names]

    def model(*xs: Tensor) -> list[Tensor]:
        return [result(layer(x)) for (layer, _), x in zip(examples, xs, strict=True)]

    parameters = [p for layer, _ in examples for p in layer.parameters()]
    xs = [x for _, x in examples]
    both = []
    for f in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        ys = f(*xs)
        both.append((ys, torch.autograd.grad(sum(y.square().sum() for y in ys), parameters)))  # type: ignore[arg-type]
    torch.testing.assert_close(both[1], both[0])
