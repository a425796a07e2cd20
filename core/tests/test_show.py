"""How models print: the exact text."""

import functools
import math

import pytest
import torch
from torch import nn

from torchflux import Chain, Dense, Parallel, SkipConnection, freeze, relu, show, treelike


@treelike
class Block:
    branch: object
    scale: float = 2.0
    activation: object = relu
    tables: tuple = ()

    def __call__(self, x):
        return x


def closure(w):
    return lambda x: w * x


def check(model, text):
    assert show(model) == text.strip("\n")


def test_a_layer_is_one_line_with_count_and_bytes():
    check(Dense(3, 4, relu), "Dense(weight 4×3, bias 4, relu)                               # 16 parameters, 64 bytes")
    check(nn.Linear(2, 1), "Linear(weight 1×2, bias 1)                                    # 3 parameters, 12 bytes")


def test_a_chain_is_a_tree():
    check(
        Chain(Dense(2, 3, torch.tanh), Chain(inner=Dense(3, 3), act=relu), nn.BatchNorm1d(3)),
        """
Chain(
  0: Dense(weight 3×2, bias 3, tanh)                          # 9 parameters
  1: Chain(
    inner: Dense(weight 3×3, bias 3, identity)                # 12 parameters
    act: relu
  )
  2: BatchNorm1d(weight 3, bias 3, running_mean 3, running_var 3, num_batches_tracked scalar int64)  # 6 parameters
)                                                             # 27 parameters, 140 bytes
""",
    )


def test_a_treelike_shows_its_fields_of_every_kind():
    check(
        Block(Dense(2, 2), tables=(torch.ones(1), torch.ones(2, 2))),
        """
Block(
  branch: Dense(weight 2×2, bias 2, identity)                 # 6 parameters
  scale: 2.0
  activation: relu
  tables: tuple(0 1, 1 2×2)                                   # 5 parameters
)                                                             # 11 parameters, 44 bytes
""",
    )
    check(
        Block(torch.ones(3)), "Block(branch 3, scale=2.0, relu, tables=())                   # 3 parameters, 12 bytes"
    )


def test_containers_show_their_connection_where_it_holds_parameters():
    check(
        Parallel(nn.Bilinear(2, 2, 1, bias=False), SkipConnection(relu, torch.add), relu),
        """
Parallel(
  0: SkipConnection(relu, add)
  1: relu
  connection: Bilinear(weight 1×2×2)                          # 4 parameters
)                                                             # 4 parameters, 16 bytes
""",
    )


def test_nan_inf_zero_and_frozen_are_marked():
    model = Chain(*(Dense(1, 1) for _ in range(5)))
    with torch.no_grad():
        model[0].weight.fill_(math.nan)
        model[1].weight.fill_(-math.inf)
        model[2].weight.fill_(0)
    freeze(model[3])
    check(
        model,
        """
Chain(
  0: Dense(weight 1×1, bias 1, identity)                      # 2 parameters, some NaN
  1: Dense(weight 1×1, bias 1, identity)                      # 2 parameters, some Inf
  2: Dense(weight 1×1, bias 1, identity)                      # 2 parameters, all zero
  3: Dense(weight 1×1, bias 1, identity)                      # 2 parameters, frozen
  4: Dense(weight 1×1, bias 1, identity)                      # 2 parameters
)                                                             # 10 parameters, 40 bytes
""",
    )


def test_parameters_on_the_meta_device_have_sizes_only():
    model = nn.Linear(2**20, 2**12, bias=False, device="meta")
    check(model, "Linear(weight 4096×1048576)                                   # 4,294,967,296 parameters, 16 GiB")


def test_shared_parameters_are_counted_once():
    layer, tied = Dense(2, 2), [nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)]
    tied[1].weight = tied[0].weight
    check(
        Chain(layer, layer, *tied),
        """
Chain(
  0: Dense(weight 2×2, bias 2, identity)                      # 6 parameters
  1: Dense(weight 2×2, bias 2, identity)                      # 6 parameters
  2: Linear(weight 2×2)                                       # 4 parameters
  3: Linear(weight 2×2)                                       # 4 parameters
)                                                             # 10 parameters, 40 bytes
""",
    )


def test_another_dtype_is_shown_and_counts_its_own_bytes():
    model = Dense(2, 2).double()
    check(model, "Dense(weight 2×2 float64, bias 2 float64, identity)           # 6 parameters, 48 bytes")


def test_closures_and_partials_show():
    check(
        Chain(closure(nn.Parameter(torch.ones(2))), functools.partial(int, base=2), lambda x: x),
        """
Chain(
  0: Closure(w 2)                                             # 2 parameters
  1: functools.partial(<class 'int'>, base=2)
  2: <lambda>
)                                                             # 2 parameters, 8 bytes
""",
    )


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (relu, "relu"),
        (3, "3"),
        ("s", "'s'"),
        (None, "None"),
        ([], "[]"),
        (torch.ones(2, 3), "2×3"),
        (torch.tensor(1), "scalar int64"),
        ({"a": torch.ones(2), "b": [1, 2]}, "dict(a 2, b=[1, 2])"),
        (Chain(), "Chain()                                                       # 0 parameters, 0 bytes"),
    ],
)
def test_what_is_no_module_or_empty_shows_too(tree, text):
    check(tree, text)


def test_a_tree_of_modules_shows():
    check(
        {"net": Dense(1, 1), "rest": (torch.ones(2), 3)},
        """
dict(
  net: Dense(weight 1×1, bias 1, identity)                    # 2 parameters
  rest: tuple(0 2, 1=3)
)
""",
    )


@pytest.mark.parametrize("model", [Dense(1, 1), Chain(Dense(1, 1), relu), Block(Dense(1, 1)), Chain()])
def test_repr_is_show(model):
    assert repr(model) == str(model) == show(model)


@pytest.mark.parametrize(
    ("n", "size"),
    [(1, "4 bytes"), (255, "1020 bytes"), (256, "1 KiB"), (384, "1.5 KiB"), (2**18, "1 MiB"), (2**28, "1 GiB")],
)
def test_bytes_are_given_in_the_largest_unit(n, size):
    assert show(nn.Linear(n, 1, bias=False, device="meta")).endswith(f" parameters, {size}")


def test_notes_start_in_the_same_column():
    model = Chain(Dense(1000, 1000), Block(Chain(Dense(1, 1), SkipConnection(Dense(3, 3), torch.add)), tables=(relu,)))
    columns = {line.index("#") for line in show(model).splitlines() if "#" in line}
    assert columns == {62}
    assert all(line[61] == " " for line in show(model).splitlines() if "#" in line)


def test_a_model_under_construction_shows():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.text = Dense(1, 1), ""
            self.text = show(self)

    assert Half().text.startswith("Half(\n  layer: Dense(")
