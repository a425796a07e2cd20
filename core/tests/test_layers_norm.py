"""Dropout and normalisation: what masks share, whose statistics are whose, and BatchNorm inside transforms."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap

from torchflux import Chain
from torchflux.layers import (
    AlphaDropout,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LSTMCell,
    WeightNorm,
)

# torch.func.jvp and Inductor import parts of torch.jit the first time.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")


close = torch.testing.assert_close


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- dropout -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [Dropout, AlphaDropout])
def test_dropout_keeps_the_mean_and_drops_its_share(layer: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(200_000).add(1 if layer is Dropout else 0)
    y = layer(0.3)(x)
    dropped = y == y.mode().values
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert y.mean().item() == pytest.approx(x.mean().item(), abs=0.02)
    if layer is Dropout:
        close(y[~dropped], x[~dropped] / 0.7)
    else:
        assert y.var().item() == pytest.approx(1, abs=0.02)
        slope = (0.7 * (1 + 0.3 * 1.7580993408473766**2)) ** -0.5  # Klambauer et al., section 2
        close(y[~dropped] - y[~dropped].mean(), slope * (x[~dropped] - x[~dropped].mean()), rtol=1e-3, atol=1e-3)


def test_dropout_is_on_while_training() -> None:
    x = torch.ones(1000)
    for layer in (Dropout(0.5), AlphaDropout(0.5)):
        assert not torch.equal(layer(x), x)
        assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("layer", [Dropout, AlphaDropout])
def test_dropout_at_the_ends(layer: Any) -> None:
    x = torch.randn(10, requires_grad=True)
    torch.testing.assert_close(layer(0.0)(x), x)
    y = layer(1.0)(x)
    assert y.tolist() == [0.0] * 10
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [0.0] * 10
    with pytest.raises(ValueError, match=r"between 0 and 1, but got 1\.5"):
        layer(1.5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("layer", [Dropout(0.5), AlphaDropout(0.5)], ids=repr)
def test_dropout_keeps_the_dtype_and_draws_lane_by_lane(layer: Any, dtype: torch.dtype) -> None:
    x = torch.ones(2, 64, dtype=dtype)
    assert layer(x).dtype == dtype
    y = vmap(layer, randomness="different")(x)
    assert y.dtype == dtype
    assert not torch.equal(y[0], y[1])


@pytest.mark.parametrize(("dims", "shared"), [((0, 1), (2, 3)), (1, (0, 2, 3)), ((-1,), (0, 1, 2)), ((), (0, 1, 2, 3))])
def test_dropout_along_some_dimensions_is_shared_along_the_others(dims: Any, shared: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.rand(40, 50, 3, 60) + 1
    layer = Dropout(0.3, dims=dims)
    factor = layer(x) / x
    close(factor.amax(shared), factor.amin(shared))
    own = factor.amax(shared).flatten()
    assert {round(value, 3) for value in own.tolist()} <= {0.0, round(1 / 0.7, 3)}
    if own.numel() > 1:
        assert (own == 0).float().mean().item() == pytest.approx(0.3, abs=5 * (0.21 / own.numel()) ** 0.5)
    assert torch.equal(layer.eval()(x), x)


def test_dropout_along_all_dimensions_is_plain_dropout() -> None:
    x, ys = torch.randn(4, 5, 6), []
    for layer in (Dropout(0.5), Dropout(0.5, dims=(0, 1, 2))):
        torch.manual_seed(0)
        ys.append(layer(x))
    close(*ys)


def test_dropout_of_channels_is_pytorchs() -> None:
    x, ys = torch.randn(4, 5, 6, 7), []
    for layer in (Dropout(0.5, dims=(0, 1)), nn.Dropout2d(0.5)):
        torch.manual_seed(0)
        ys.append(layer(x))
    close(*ys)


def test_dropout_along_some_dimensions_inside_transforms() -> None:
    layer, x = Dropout(0.5, dims=0), torch.ones(8, 64, 3, dtype=torch.float64)
    y = vmap(layer, randomness="different")(x)
    assert y.dtype == x.dtype
    assert len({tuple(row) for row in y.amax(-1).tolist()}) == 8
    close(y.amax(-1), y.amin(-1))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        slope = grad(lambda x: layer(x).sum())(x[0])
        torch.manual_seed(0)
        close(slope, layer(x[0]))
    with pytest.raises(IndexError):
        Dropout(0.5, dims=3)(x)


# --- layer, group and instance normalisation ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "dims"),
    [(LayerNorm(4, 5), (2, 3)), (LayerNorm(5), (3,)), (InstanceNorm(6), (2, 3)), (GroupNorm(6, 1), (1, 2, 3))],
    ids=repr,
)
def test_normalisation_in_closed_form(layer: Any, dims: tuple[int, ...]) -> None:
    x = 3 * torch.randn(2, 6, 4, 5, dtype=torch.float64) + 2
    var, mean = torch.var_mean(x, dims, keepdim=True, correction=0)
    torch.testing.assert_close(layer.double()(x), (x - mean) / (var + 1e-5).sqrt())


def test_activations_come_last() -> None:
    x = torch.randn(2, 4, 3)
    for make in (lambda *σ: LayerNorm(3, *σ), lambda *σ: GroupNorm(4, 2, *σ), lambda *σ: BatchNorm(4, *σ)):
        torch.testing.assert_close(make(torch.relu)(x), make()(x).relu())


# --- BatchNorm: the whole table of ways to run it, against nn.BatchNorm2d run plainly -----------------------

X = 2 * torch.randn(6, 3, 4, 4, generator=seeded()) + torch.tensor([1.0, -2.0, 0.5]).reshape(3, 1, 1)
Buffers = dict[str, Tensor]


def twin(seed: int = 0, kind: Any = nn.BatchNorm2d) -> Any:
    """PyTorch's layer, away from its starting point."""
    layer, g = kind(3, affine=True, track_running_stats=True), seeded(seed)
    for value in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
        value.copy_(torch.rand(3, generator=g) + 0.5)
    layer.num_batches_tracked.fill_(7)
    return layer


def ours(seed: int = 0) -> Any:
    layer = BatchNorm(3)
    layer.load_state_dict(twin(seed).state_dict(), strict=True)
    return layer


def buffers(layer: nn.Module) -> Buffers:
    return {name: buffer.clone() for name, buffer in layer.named_buffers()}


def loss_of(layer: nn.Module) -> Callable[..., Tensor]:
    def loss(state: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(layer, state, (x,)).pow(3).mean()

    return loss


def detached(layer: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in layer.named_parameters()}


def compiled(f: Any) -> Any:
    return torch.compile(f, fullgraph=True, backend="aot_eager")


def as_is(f: Any) -> Any:
    return f


def in_backward(how: Any, layer: nn.Module, x: Tensor) -> tuple[dict[str, Tensor], Buffers]:
    """Gradients and buffers of a training step by PyTorch's tape."""
    names, parameters = zip(*layer.named_parameters(), strict=True)
    gradients = torch.autograd.grad(how(layer)(x).pow(3).mean(), parameters)
    return dict(zip(names, gradients, strict=True)), buffers(layer)


def plainly(layer: nn.Module, x: Tensor) -> tuple[dict[str, Tensor], Buffers]:
    return in_backward(as_is, layer, x)


def in_func_grad(how: Any, layer: nn.Module, x: Tensor) -> tuple[dict[str, Tensor], Buffers]:
    return how(grad(loss_of(layer)))(detached(layer), x), buffers(layer)


@pytest.mark.parametrize("how", [as_is, compiled])
@pytest.mark.parametrize("way", [in_backward, in_func_grad])
def test_batch_norm_trains_as_pytorchs(way: Any, how: Any) -> None:
    gradients, after = way(how, ours(), X)
    expected, expected_after = plainly(twin(), X)
    close(gradients, expected)
    close(after, expected_after)


def test_inductor_compiles_the_gradient_of_batch_norm() -> None:
    layer = ours()
    gradients = torch.compile(grad(loss_of(layer)), fullgraph=True)(detached(layer), X)
    expected, after = plainly(twin(), X)
    close(gradients, expected)
    close(buffers(layer), after)


@pytest.mark.parametrize("how", [as_is, compiled])
def test_members_of_an_ensemble_keep_their_own_statistics(how: Any) -> None:
    members = [ours(seed) for seed in range(3)]
    parameters, stacked = stack_module_state(members)

    def gradient(p: dict[str, Tensor], b: Buffers) -> dict[str, Tensor]:
        return grad(lambda p: functional_call(members[0], (p, b), (X,)).pow(3).mean())(p)

    gradients = how(vmap(gradient))(parameters, stacked)
    alone = [plainly(twin(seed), X) for seed in range(3)]
    close(gradients, {name: torch.stack([g[name] for g, _ in alone]) for name in gradients})
    close(stacked, {name: torch.stack([b[name] for _, b in alone]) for name in stacked})


@pytest.mark.parametrize("how", [as_is, compiled])
def test_shared_statistics_become_the_mean_of_what_each_lane_makes_of_them(how: Any) -> None:
    layer = ours()
    gradient = grad(lambda state, x: loss_of(layer)(state, x[None]))
    gradients = how(vmap(gradient, in_dims=(None, 0)))(detached(layer), X)
    alone = [plainly(twin(), x[None]) for x in X]
    close(gradients, {name: torch.stack([g[name] for g, _ in alone]) for name in gradients})
    expected = {name: torch.stack([b[name] for _, b in alone]) for name in buffers(layer)}
    close(buffers(layer), {name: b.mean(0) if b.is_floating_point() else b[0] for name, b in expected.items()})


@pytest.mark.parametrize("transform", [jacrev, jacfwd, hessian])
def test_batch_norm_inside_jacobians(transform: Any) -> None:
    layer = ours()
    transform(loss_of(layer))(detached(layer), X)
    close(buffers(layer), plainly(twin(), X)[1])


def test_batch_norm_inside_jvp() -> None:
    layer, other, v = ours(), twin().train(), torch.randn_like(X)
    y, tangent = jvp(layer, (X,), (v,))
    close(buffers(layer), plainly(other, X)[1])
    h = 1e-3
    close(tangent, (twin()(X + h * v) - twin()(X - h * v)) / (2 * h), rtol=1e-2, atol=1e-2)
    close(y, twin()(X))


def test_batch_norm_inside_a_network_inside_transforms() -> None:
    torch.manual_seed(0)
    model = Chain(Conv((3, 3), 3, 4), BatchNorm(4, torch.relu), Conv((1, 1), 4, 2), BatchNorm(2))
    plain = copy.deepcopy(model)
    expected = plainly(plain, X)
    close(grad(loss_of(model))(detached(model), X), expected[0])
    close(buffers(model), expected[1])


def test_second_derivatives_move_the_statistics_once() -> None:
    layer = ours()

    def norm(state: dict[str, Tensor]) -> Tensor:
        return torch.stack([g.square().sum() for g in grad(loss_of(layer))(state, X).values()]).sum()

    grad(norm)(detached(layer))
    close(buffers(layer), plainly(twin(), X)[1])


@pytest.mark.parametrize("wrong", ["momentum", "biased", "eps"])
def test_the_comparison_can_fail(wrong: str) -> None:
    """Canaries: a layer with another momentum, another correction or another eps is told apart."""
    layer = ours()
    if wrong == "momentum":
        layer.momentum = 0.11
    if wrong == "eps":
        layer.eps = 1e-2
    gradients, after = in_func_grad(as_is, layer, X)
    if wrong == "biased":
        kept, count = 0.9 * twin().running_var, X.numel() / 3
        after["running_var"] = kept + (after["running_var"] - kept) * (count - 1) / count
    with pytest.raises(AssertionError):
        close((gradients, after), plainly(twin(), X))


def test_pytorchs_own_layer_does_not_train_inside_transforms() -> None:
    """The reason for all this: pytorch#85533. Where it is mended, `_Write` can go."""
    with pytest.raises(RuntimeError, match="in-place"):
        grad(loss_of(twin()))(detached(twin()), X)


def test_outside_of_training_the_running_statistics_are_used_and_kept() -> None:
    layer, other = ours().eval(), twin().eval()
    before = buffers(layer)
    close(vmap(lambda x: layer(x[None])[0])(X), other(X))
    close(in_func_grad(as_is, layer, X), (plainly(other, X)[0], before))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("inside", [False, True], ids=["eager", "func.grad of vmap"])
def test_half_precision_keeps_float32_statistics(dtype: torch.dtype, inside: bool) -> None:
    layer, x = ours(), X.to(dtype)
    kinds = []

    def run(x: Tensor) -> Tensor:
        y = layer(x)
        kinds.append(y.dtype)
        return y.float().sum()

    grad(lambda x: vmap(run)(x[None]).sum())(x) if inside else run(x)
    assert kinds == [dtype]
    expected = twin()
    expected(x.float())
    assert layer.running_mean.dtype == layer.running_var.dtype == torch.float32
    close(buffers(layer), buffers(expected), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layer", [InstanceNorm(3), GroupNorm(4, 2, affine=False)], ids=["InstanceNorm", "GroupNorm"])
@pytest.mark.parametrize("shape", [(2, 8, 5), (3,)])
def test_another_number_of_channels_is_refused(layer: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes \(batch, [34], \.\.\.\), and was given \("):
        layer(torch.zeros(shape))


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("inside", [False, True], ids=["eager", "vmap"])
@pytest.mark.parametrize("channels", [1, 4])
def test_batch_norm_refuses_another_number_of_channels(affine: bool, inside: bool, channels: int) -> None:
    layer, x = BatchNorm(3, affine=affine), torch.randn(8, channels)
    with pytest.raises(RuntimeError):
        vmap(layer)(x[None]) if inside else layer(x)
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize("inside", [False, True], ids=["eager", "vmap"])
def test_one_value_per_channel_is_refused_in_training(inside: bool) -> None:
    layer, x = ours(), torch.randn(1, 3)
    before = buffers(layer)
    with pytest.raises(ValueError, match="more than 1 value per channel when training"):
        vmap(layer)(x[None]) if inside else layer(x)
    close(buffers(layer), before)
    assert layer.eval()(x).shape == (1, 3)


def test_statistics_are_no_parameters() -> None:
    layer = BatchNorm(3)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert list(layer.state_dict()) == list(nn.BatchNorm2d(3).state_dict())


# --- InstanceNorm with running statistics, against nn.InstanceNorm2d -----------------------------------------


def tracked() -> tuple[Any, Any]:
    """Ours and PyTorch's, away from their starting point."""
    mine, theirs = InstanceNorm(3, affine=True, track_stats=True), twin(kind=nn.InstanceNorm2d)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    return mine, theirs


def statistics(layer: nn.Module) -> Buffers:
    """PyTorch's InstanceNorm keeps its count at zero."""
    return {name: buffer for name, buffer in buffers(layer).items() if name.startswith("running")}


@pytest.mark.parametrize("how", [as_is, compiled])
@pytest.mark.parametrize("way", [in_backward, in_func_grad])
def test_instance_norm_tracks_statistics_as_pytorchs(way: Any, how: Any) -> None:
    mine, theirs = tracked()
    gradients, after = way(how, mine, X)
    close(gradients, plainly(theirs, X)[0])
    close(statistics(mine), statistics(theirs))
    assert after["num_batches_tracked"] == 8
    close(mine.eval()(X), theirs.eval()(X))
    close(statistics(mine), statistics(theirs))


def test_tracked_statistics_in_closed_form() -> None:
    layer = InstanceNorm(3, track_stats=True, momentum=0.2)
    var, mean = torch.var_mean(X, (2, 3))
    close(layer(X), InstanceNorm(3)(X))
    close(layer.running_mean, 0.2 * mean.mean(0))
    close(layer.running_var, 0.8 + 0.2 * var.mean(0))
    expected = (X - layer.running_mean.reshape(3, 1, 1)) / (layer.running_var.reshape(3, 1, 1) + 1e-5).sqrt()
    close(layer.eval()(X), expected)


def test_samples_in_lanes_track_what_a_batch_of_them_does() -> None:
    mine, theirs = tracked()
    close(vmap(lambda x: mine(x[None])[0])(X), theirs(X))
    close(statistics(mine), statistics(theirs))


def test_statistics_are_tracked_only_where_asked_for() -> None:
    assert list(InstanceNorm(3, affine=True).state_dict()) == ["weight", "bias"]
    layer = InstanceNorm(3, torch.relu, track_stats=True)
    assert list(layer.state_dict()) == ["running_mean", "running_var", "num_batches_tracked"]
    assert not list(layer.parameters())
    assert layer(X).min() == 0
    with pytest.raises(RuntimeError):
        layer(X[:, :2])


# --- WeightNorm --------------------------------------------------------------------------------------------


def weight_normed(dim: int = 0) -> tuple[nn.Module, nn.Module]:
    layer, other = Dense(3, 4), nn.Linear(3, 4)
    other.load_state_dict(layer.state_dict())
    return WeightNorm(layer, dim=dim), nn.utils.parametrizations.weight_norm(other, dim=dim)


@pytest.mark.parametrize("dim", [0, 1])
def test_weight_norm_is_pytorchs(dim: int) -> None:
    mine, theirs = weight_normed(dim)
    x = torch.randn(2, 3)
    close(mine(x), theirs(x))
    mine(x).square().sum().backward()
    theirs(x).square().sum().backward()
    original = theirs.parametrizations["weight"]  # type: ignore[index]
    close(mine.g.grad, original.original0.grad)
    close(mine.v.grad, original.original1.grad)


def test_pytorchs_own_weight_norm_has_a_wrong_second_derivative() -> None:
    """The reason for not using its kernel; ours is checked in test_layers_contract.py."""
    v, g = torch.randn(4, 3).double().requires_grad_(), torch.rand(4, 1).double().requires_grad_()
    assert torch.autograd.gradcheck(torch._weight_norm, (v, g))
    assert not torch.autograd.gradgradcheck(torch._weight_norm, (v, g), raise_exception=False)


def test_weight_norm_of_any_parameter_of_any_layer() -> None:
    cell = LSTMCell(3, 4)
    layer, x = WeightNorm(cell, "weight_hh"), torch.randn(2, 3)
    close(layer(x)[0], cell(x)[0])
    layer.g.data.mul_(2)
    double = LSTMCell(3, 4)
    double.load_state_dict({**cell.state_dict(), "weight_hh": 2 * cell.weight_hh})
    state = torch.randn(2, 4), torch.randn(2, 4)
    close(layer(x, state), double(x, state))
    assert list(cell.state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]  # the layer is left alone
    with pytest.raises(AttributeError, match="wieght"):
        WeightNorm(Dense(3, 4), "wieght")


def test_the_length_and_the_direction_train_apart() -> None:
    layer, _ = weight_normed()
    layer.v.data.mul_(7)
    rows = layer(torch.eye(3)).T - layer.layer.bias[:, None]  # the weight
    close(rows.norm(dim=1, keepdim=True), layer.g)
    gradient = torch.autograd.grad(layer(torch.randn(2, 3)).square().sum(), layer.v)[0]
    close((gradient * layer.v).sum(1), torch.zeros(4), rtol=0, atol=1e-5)
