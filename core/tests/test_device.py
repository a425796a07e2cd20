"""Devices and number types: what moves, what stays, what keeps its identity."""

import pytest
import torch
from torch import nn

from torchflux import Chain, Dense, bf16, cpu, f16, f32, f64, gpu, trainables

FLOATING = {f16: torch.float16, bf16: torch.bfloat16, f32: torch.float32, f64: torch.float64}
each = pytest.mark.parametrize(("to", "dtype"), FLOATING.items(), ids=repr)
with_gpu = pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator")


def closure(w):
    return lambda x: w * x


def module():
    return Chain(Dense(2, 2), nn.BatchNorm1d(2))


def tree():
    return {"x": torch.ones(2), "i": (torch.tensor(1), torch.tensor(True)), "n": 1.5, "s": ["name", None]}


@pytest.mark.skipif(torch.accelerator.is_available(), reason="for a machine without an accelerator")
def test_without_an_accelerator_gpu_moves_nothing():
    model, x = module(), torch.ones(2)
    assert (model | gpu) is model
    assert gpu(x) is x
    assert all(p.device.type == "cpu" for p in model.parameters())


@pytest.mark.parametrize("to", [gpu, cpu, f32, f64], ids=repr)
def test_the_bar_is_a_call(to):
    model, data = module(), tree()
    assert (model | to) is model
    assert list(data | to) == list(data)
    torch.testing.assert_close((data | to)["x"], to(data["x"]))


@pytest.mark.parametrize("to", [gpu, cpu, f16, f64], ids=repr)
def test_a_module_is_changed_in_place_and_its_parameters_stay_the_same_objects(to):
    model = module()
    before = list(model.parameters())
    assert to(model) is model
    assert all(p is q for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("to", [gpu, cpu, f16, f64], ids=repr)
def test_a_tree_is_made_anew_and_its_modules_stay(to):
    model = module()
    data = {"net": model, "x": [torch.ones(2), model]}
    moved = to(data)
    assert moved is not data
    assert moved["net"] is moved["x"][1] is model
    assert data["x"][0].dtype == torch.float32


def test_cpu_of_a_cpu_tensor_is_the_tensor():
    x = torch.ones(2)
    assert cpu(x) is x
    assert cpu(3) == 3


@each
def test_floating_point_tensors_change_and_all_else_is_kept(to, dtype):
    moved = to(tree())
    assert moved["x"].dtype == dtype
    assert [x.dtype for x in moved["i"]] == [torch.int64, torch.bool]
    assert (moved["n"], moved["s"]) == (1.5, ["name", None])


@each
def test_the_parameters_and_statistics_of_a_module_change_and_its_counters_are_kept(to, dtype):
    model = to(module())
    assert {x.dtype for x in model.parameters()} == {model[1].running_var.dtype} == {dtype}
    assert model[1].num_batches_tracked.dtype == torch.int64
    assert len(trainables(model)) == 4


@each
def test_complex_numbers_stay_complex(to, dtype):
    x = torch.tensor([1 + 2j])
    assert to([x])[0].is_complex()
    assert to([x])[0].imag.item() == 2


@each
def test_complex_parameters_stay_complex(to, dtype):
    model = nn.ParameterList([torch.tensor([1 + 2j]), torch.ones(1)])
    assert [p.dtype for p in to(model)] == [torch.complex64, dtype]


@each
def test_a_closure_is_still_a_model_that_trains(to, dtype):
    model = to(closure(nn.Parameter(torch.ones(2))))
    (w,) = trainables(model)
    assert w.dtype == dtype
    assert w.is_leaf
    assert model(torch.ones(2, dtype=dtype)).dtype == dtype


@each
def test_a_parameter_in_a_tree_is_still_a_parameter(to, dtype):
    (w,) = to([nn.Parameter(torch.ones(2), requires_grad=False)])
    assert isinstance(w, nn.Parameter)
    assert (w.dtype, w.requires_grad) == (dtype, False)


def test_a_tensor_that_occurs_twice_is_moved_once():
    x = torch.ones(2)
    a, b = f64((x, x))
    assert a is b


@pytest.mark.parametrize("to", [gpu, cpu, *FLOATING], ids=repr)
def test_a_move_has_a_name_and_a_docstring(to):
    assert repr(to) == f"torchflux.{to.__name__}"
    assert to.__doc__


@with_gpu
def test_a_model_and_its_data_go_to_the_gpu_and_back():
    device = torch.accelerator.current_accelerator()
    model, x = module() | gpu, tree() | gpu
    assert {p.device.type for p in model.state_dict().values()} == {device.type}
    assert x["x"].device.type == x["i"][0].device.type == device.type
    assert model(x["x"].expand(4, 2)).device.type == device.type
    assert {p.device.type for p in cpu(model).parameters()} == {"cpu"}


@with_gpu
def test_a_closure_on_the_gpu_is_still_a_model_that_trains():
    (w,) = trainables(closure(nn.Parameter(torch.ones(2))) | gpu)
    assert w.is_leaf
    assert w.device.type != "cpu"


@with_gpu
def test_an_optimiser_keeps_its_hold_on_a_moved_model():
    model = Dense(2, 2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    before = gpu(model).weight.detach().clone()
    model(torch.ones(1, 2) | gpu).sum().backward()
    optimiser.step()
    torch.testing.assert_close(model.weight.detach(), before - 0.1)
