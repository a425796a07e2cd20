"""Sizes without computing, and sizes that fill themselves in."""

import copy

import pytest
import torch
from torch import nn

from torchflux import Chain, Dense, Parallel, SkipConnection, autosize, outputsize, relu, treelike


@treelike
class Block:
    branch: object
    heads: tuple = ()

    def __call__(self, x):
        return [head(self.branch(x)) for head in self.heads] if len(self.heads) else self.branch(x)


def closure(layer):
    return lambda x: layer(x) + 1


def conv():
    return Chain(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), relu, nn.MaxPool2d(2), nn.Flatten(), Dense(16, 3))


MODELS = {
    "linear": (lambda: Chain(Dense(4, 8, relu), Dense(8, 2)), (5, 4)),
    "batch dimensions": (lambda: Dense(4, 8), (2, 3, 4)),
    "no batch": (lambda: Dense(4, 8), (4,)),
    "empty batch": (lambda: Dense(4, 8), (0, 4)),
    "conv": (conv, (6, 1, 10, 10)),
    "sequential": (lambda: nn.Sequential(nn.Conv1d(2, 3, 5), nn.Flatten()), (2, 2, 9)),
    "function": (lambda: lambda x: x.flatten(1).mean(1), (2, 3, 4)),
    "closure": (lambda: closure(nn.Linear(4, 7)), (2, 4)),
    "batch of one in BatchNorm": (lambda: nn.BatchNorm1d(4), (1, 4)),
}


@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS.keys())
def test_outputsize_is_the_shape_of_a_real_run(make, shape):
    model = make()
    found = outputsize(model, shape)
    if isinstance(model, nn.Module):
        model.eval()
    assert found == tuple(model(torch.zeros(shape)).shape)
    assert type(found) is tuple


def test_nothing_is_computed():
    huge = (10**6, 10**6)
    assert outputsize(lambda x: x @ x, huge) == huge
    model = nn.Linear(10**6, 10**6, bias=False, device="meta")
    assert outputsize(model, huge) == huge


def test_several_inputs_take_a_shape_each():
    assert outputsize(torch.matmul, (2, 3), (3, 5)) == (2, 5)
    assert outputsize(nn.Bilinear(2, 3, 4), (7, 2), (7, 3)) == (7, 4)


def test_a_tree_of_results_gives_the_tree_of_their_shapes():
    assert outputsize(lambda x: {"a": (x, x.sum()), "b": [x.T]}, (2, 3)) == {"a": ((2, 3), ()), "b": [(3, 2)]}
    assert outputsize(nn.LSTM(2, 3, batch_first=True), (1, 4, 2)) == ((1, 4, 3), ((1, 1, 3), (1, 1, 3)))


def test_the_dtype_is_the_models_unless_said_otherwise():
    seen = []
    outputsize(Chain(lambda x: seen.append(x.dtype) or x, nn.Linear(2, 2).double()), (1, 2))
    assert seen == [torch.float64]
    assert outputsize(nn.Embedding(3, 4), (5,), dtype=torch.long) == (5, 4)


def test_the_model_is_not_touched():
    model = Chain(nn.BatchNorm1d(4), nn.Dropout(), Dense(4, 2)).train()
    before = copy.deepcopy(model.state_dict())
    outputsize(model, (8, 4))
    assert all(m.training for m in model.modules())
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert model[0].num_batches_tracked == 0


@pytest.mark.parametrize("layer", [lambda: Dense(4, 2), lambda: Dense(..., 2)], ids=["sized", "open"])
def test_nothing_random_is_drawn(layer):
    model = Chain(nn.Dropout(), layer())
    before = torch.get_rng_state()
    outputsize(model, (8, 4))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("shapes", [(), (3,), (3, 4), ((2, 3), 4)])
def test_shapes_that_are_no_tuples_are_refused(shapes):
    with pytest.raises(TypeError, match="shape of each input as a tuple"):
        outputsize(relu, *shapes)


def test_a_size_that_does_not_fit_is_an_error():
    with pytest.raises(RuntimeError):
        outputsize(Dense(2, 3), (5, 7))


# autosize

NESTED = {
    "layer": (lambda: Dense(..., 3), [(3, 4)]),
    "chain": (lambda: Chain(Dense(..., 3, relu), Dense(..., 2)), [(3, 4), (2, 3)]),
    "named": (lambda: Chain(a=Dense(..., 3), b=Chain(c=Dense(..., 2))), [(3, 4), (2, 3)]),
    "parallel": (lambda: Parallel(torch.add, Dense(..., 2), Dense(..., 2)), [(2, 4), (2, 4)]),
    "skip": (lambda: SkipConnection(Dense(..., 4), torch.add), [(4, 4)]),
    "sequential": (lambda: nn.Sequential(nn.Linear(4, 5), Dense(..., 2)), [(5, 4), (2, 5)]),
    "treelike": (lambda: Block(Dense(..., 3), (Dense(..., 2), Dense(..., 1))), [(3, 4), (2, 3), (1, 3)]),
    "closure": (lambda: Chain(closure(Dense(..., 3)), Dense(..., 2)), [(3, 4), (2, 3)]),
    "given": (lambda: Chain(Dense(4, 3), Dense(3, 2)), [(3, 4), (2, 3)]),
}


@pytest.mark.parametrize(("make", "shapes"), NESTED.values(), ids=NESTED.keys())
def test_autosize_fills_in_every_open_size(make, shapes):
    model = autosize((5, 4), make())
    assert [tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")] == shapes
    model(torch.ones(5, 4))


def test_the_filled_layer_is_the_one_that_its_arguments_describe():
    layer = autosize((1, 4), Dense(..., 3, torch.tanh, bias=False, init=torch.ones))
    assert type(layer) is type(Dense(4, 3))
    assert layer.bias is None
    torch.testing.assert_close(layer(torch.ones(1, 4)).detach(), torch.full((1, 3), 4.0).tanh())


def test_a_seed_gives_the_parameters_of_the_model_with_its_sizes_written_out():
    torch.manual_seed(0)
    filled = autosize((1, 4), Chain(Dense(..., 3), Dense(..., 2)))
    torch.manual_seed(0)
    written = Chain(Dense(4, 3), Dense(3, 2))
    assert all(torch.equal(a, b) for a, b in zip(filled.parameters(), written.parameters(), strict=True))


def test_an_open_size_may_be_given_by_keyword():
    assert autosize((1, 4), Dense(nin=..., nout=3)).weight.shape == (3, 4)
    assert autosize((1, 4), Dense(..., nout=3)).weight.shape == (3, 4)


def test_a_layer_with_an_open_size_that_stands_twice_stays_shared():
    layer = Dense(..., 4)
    model = autosize((1, 4), Chain(layer, layer))
    assert model[0] is model[1]


def test_layers_that_had_a_size_keep_their_parameters():
    layer = nn.Linear(4, 3)
    assert autosize((1, 4), Chain(layer, Dense(..., 2)))[0].weight is layer.weight


def test_the_result_trains():
    torch.manual_seed(0)
    model = autosize((1, 2), Chain(Dense(..., 8, torch.tanh), Dense(..., 1)))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(16, 2)
    losses = []
    for _ in range(20):
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("training", [True, False])
def test_the_training_flag_is_kept(training):
    model = autosize((1, 4), Chain(Dense(..., 3), nn.Dropout()).train(training))
    assert all(m.training == training for m in model.modules())


def test_the_training_flag_of_every_part_is_kept():
    model = Chain(nn.BatchNorm1d(4).eval(), Dense(..., 3))
    model = autosize((1, 4), model)
    assert (model.training, model[0].training, model[1].training) == (True, False, True)


def test_a_layer_that_is_not_reached_is_an_error():
    model = Block(Dense(..., 3))
    model.unused = Dense(..., 2)
    with pytest.raises(ValueError, match=r"did not call Dense\(\.\.\., 2\)"):
        autosize((1, 4), model)


def test_a_layer_with_an_open_size_refuses_real_data():
    with pytest.raises(ValueError, match=r"Dense\(\.\.\., 3\) has an open size; fill it in with autosize"):
        Chain(Dense(..., 3))(torch.ones(1, 4))


def test_a_layer_called_with_two_sizes_is_an_error():
    layer = Dense(..., 3)
    with pytest.raises(ValueError, match=r"Dense\(\.\.\., 3\) was called with sizes 4 and 3"):
        autosize((1, 4), Chain(layer, layer))


def test_one_description_is_filled_in_for_several_sizes():
    model = Chain(Dense(..., 3), Dense(..., 2))
    assert outputsize(model, (1, 4)) == (1, 2)
    assert [autosize((1, n), model)[0].weight.shape[1] for n in (4, 5, 6)] == [4, 5, 6]


def test_autosize_can_be_tried_again_after_an_error():
    model = Chain(Dense(..., 6), lambda x: x.reshape(3, 2), Dense(..., 2))
    with pytest.raises(RuntimeError):
        autosize((5, 4), model)
    assert autosize((1, 7), model)[0].weight.shape == (6, 7)


def test_the_open_size_is_kept_in_repr():
    assert repr(Dense(..., 3)) == "Dense(..., 3)"
    assert "Dense(..., 3" in repr(Chain(Dense(..., 3), relu))


def test_an_open_description_copies():
    model = copy.deepcopy(Chain(Dense(..., 3)))
    assert autosize((1, 4), model)[0].weight.shape == (3, 4)
