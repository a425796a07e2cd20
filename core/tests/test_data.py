"""Data: one-hot arrays against NumPy's identity matrix, splits as partitions, batches as inverses."""

import string
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader as TorchLoader
from torch.utils.data import Dataset, TensorDataset

from torchflux import DataLoader, batch, onecold, onehot, onehotbatch, splitobs, unbatch

Pair = namedtuple("Pair", "x y")


class Squares(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, i):
        return i * i


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# One-hot


@pytest.mark.parametrize(
    ("xs", "labels"),
    [
        ("hello", string.ascii_lowercase),
        ([3, 1, 1], [1, 2, 3]),
        (["cat", "dog"], ["dog", "cat"]),
        (torch.tensor([2, 0]), range(3)),
        (np.array([2, 0]), np.arange(3)),
        ([None, True], [True, None]),
        ([], [1, 2]),
        ([(0, 1)], [(0, 1), (1, 0)]),
        (["only"], ["only"]),
    ],
)
def test_onehot_rows_are_rows_of_the_identity(xs, labels):
    index = [list(labels).index(x) for x in (xs.tolist() if isinstance(xs, torch.Tensor) else xs)]
    expected = np.eye(len(labels), dtype=np.float32)[np.array(index, dtype=int)]
    found = onehotbatch(xs, labels)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found.numpy(), expected)
    for x, row in zip(xs, expected, strict=True):
        np.testing.assert_array_equal(onehot(x, labels).numpy(), row)


def test_onecold_is_the_inverse_of_onehotbatch():
    assert "".join(onecold(onehotbatch("hello", string.ascii_lowercase), string.ascii_lowercase)) == "hello"


def test_onecold_is_the_label_of_the_largest():
    y = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]])
    assert onecold(y).tolist() == [1, 0]
    assert onecold(y, "abc") == ["b", "a"]
    assert onecold(y[0], ["a", "b", "c"]) == "b"
    assert onecold(y[0]).item() == 1


def test_onecold_keeps_the_dimensions_before_the_last():
    y = torch.eye(4).reshape(2, 2, 4)
    assert onecold(y).tolist() == [[0, 1], [2, 3]]
    assert onecold(y, "abcd") == [["a", "b"], ["c", "d"]]


def test_onecold_of_no_rows_is_empty():
    assert onecold(torch.zeros(0, 3), "abc") == []


@pytest.mark.parametrize("x", [9, "x", None])
def test_what_is_not_among_the_labels_is_named(x):
    with pytest.raises(ValueError, match=rf"{x!r} is not among the labels \[1, 2\]"):
        onehotbatch([1, x], [1, 2])


def test_labels_that_are_not_distinct_are_refused():
    with pytest.raises(ValueError, match="not distinct"):
        onehot(1, [1, 2, 1])


@pytest.mark.parametrize("labels", ["ab", "abcd"])
def test_a_wrong_number_of_labels_is_refused(labels):
    with pytest.raises(ValueError, match=rf"{len(labels)} labels for the 3 entries"):
        onecold(torch.eye(3), labels)


# splitobs


@pytest.mark.parametrize("n", [0, 1, 2, 7, 10])
@pytest.mark.parametrize("at", [0.7, 0.0, 1.0, 1, (0.5, 0.3), (0.2, 0.4, 0.3, 0.1), (0.1,) * 10, ()])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_parts_are_a_partition_of_the_observations(n, at, shuffle):
    parts = splitobs(torch.arange(n), at=at, shuffle=shuffle)
    assert len(parts) == (len(at) if isinstance(at, tuple) else 1) + 1
    together = torch.cat(parts)
    assert sorted(together.tolist()) == list(range(n))
    assert shuffle or together.tolist() == list(range(n))


@pytest.mark.parametrize(("at", "sizes"), [(0.7, [7, 3]), ((0.5, 0.3), [5, 3, 2]), ((0.1, 0.2, 0.7), [1, 2, 7, 0])])
def test_the_parts_have_the_given_shares(at, sizes):
    assert [len(part) for part in splitobs(torch.zeros(10, 2), at=at)] == sizes


def test_a_tree_is_split_part_by_part_in_the_same_order():
    x = torch.arange(10)
    data = {"x": x, "y": Pair((10 * x)[:, None], [x.float()])}
    for part in splitobs(data, at=0.6, shuffle=True, generator=seeded(0)):
        torch.testing.assert_close(part["y"].x, 10 * part["x"][:, None])
        torch.testing.assert_close(part["y"].y[0], part["x"].float())


def test_a_dataset_is_split_into_datasets():
    train, test = splitobs(Squares(), at=0.8)
    assert isinstance(train, Dataset)
    assert (list(train), list(test)) == ([i * i for i in range(8)], [64, 81])
    shuffled = splitobs(Squares(), at=0.5, shuffle=True, generator=seeded(0))
    assert sorted(x for part in shuffled for x in part) == [i * i for i in range(10)]
    assert [len(part) for part in splitobs(TensorDataset(torch.zeros(4, 2)), at=0.5)] == [2, 2]


def test_a_list_of_samples_is_split_into_its_samples():
    files = ["one.png", "two.png", "six.png", "ten.png"]
    train, test = splitobs(files, at=0.5)
    assert (list(train), list(test)) == (files[:2], files[2:])


def test_a_generator_makes_a_shuffle_reproducible_and_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    a, b, c = (splitobs(torch.arange(100), shuffle=True, generator=seeded(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[0], c[0])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("at", [1.5, -0.1, (0.7, 0.7), (0.5, -0.1), float("nan")])
def test_shares_that_are_no_shares_are_refused(at):
    with pytest.raises(ValueError, match="shares of the whole"):
        splitobs(torch.arange(10), at=at)


def test_parts_with_different_numbers_of_observations_are_refused():
    with pytest.raises(ValueError, match=r"different numbers of observations: \[3, 4\]"):
        splitobs((torch.zeros(3), [torch.zeros(4)]))


# batch and unbatch

SAMPLES = {
    "tensors": [torch.arange(3.0), torch.ones(3)],
    "one": [torch.ones(2, 2)],
    "scalars": [torch.tensor(1), torch.tensor(2)],
    "tuples": [(torch.zeros(2), torch.tensor(1)), (torch.ones(2), torch.tensor(2))],
    "trees": [
        {"a": [torch.tensor(i)], "b": Pair(torch.ones(i, i)[:1, :1], OrderedDict(c=torch.zeros(0)))} for i in (1, 2)
    ],
}


def flat(tree):
    if isinstance(tree, torch.Tensor):
        return [tree]
    return [x for part in (tree.values() if isinstance(tree, dict) else tree) for x in flat(part)]


@pytest.mark.parametrize("samples", SAMPLES.values(), ids=SAMPLES.keys())
def test_unbatch_is_the_inverse_of_batch(samples):
    again = unbatch(batch(samples))
    assert len(again) == len(samples)
    for old, new in zip(samples, again, strict=True):
        assert type(new) is type(old)
        assert all(torch.equal(x, y) for x, y in zip(flat(old), flat(new), strict=True))


def test_a_batch_is_stacked_along_a_new_first_dimension():
    x = batch([torch.zeros(2, 3), torch.ones(2, 3)])
    assert x.shape == (2, 2, 3)
    assert x[1].all()


@pytest.mark.parametrize(
    ("numbers", "dtype"),
    [([1, 2], torch.int64), ([1.0, 2.0], torch.float32), ([True, False], torch.bool), ([1j], torch.complex64)],
)
def test_numbers_become_tensors(numbers, dtype):
    assert batch(numbers).dtype == dtype
    assert batch([(n, {"n": n}) for n in numbers])[1]["n"].tolist() == numbers


def test_a_batch_of_samples_that_share_a_tensor_is_stacked_as_any():
    x = torch.ones(2)
    a, b = batch([(x, x), (2 * x, 3 * x)])
    assert (a.tolist(), b.tolist()) == ([[1.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [3.0, 3.0]])


def test_nothing_cannot_be_batched():
    with pytest.raises(ValueError, match="an empty list can't be batched"):
        batch([])


@pytest.mark.parametrize(
    "samples",
    [
        [torch.zeros(2), torch.zeros(3)],
        [(1, 2), (1,)],
        [(1,), (1, 2)],
        [{"a": 1}, {"b": 1}],
        [{"a": 1}, {"a": 1, "b": 2}],
    ],
)
def test_samples_that_are_not_alike_are_refused(samples):
    with pytest.raises((ValueError, KeyError, RuntimeError)):
        batch(samples)


def test_unbatch_refuses_parts_of_different_lengths():
    with pytest.raises(ValueError, match="different numbers"):
        unbatch((torch.zeros(2), torch.zeros(3)))


def test_an_empty_batch_has_no_samples():
    assert unbatch(torch.zeros(0, 3)) == []


def test_the_data_loader_is_pytorchs():
    assert DataLoader is TorchLoader
    assert [x.tolist() for x in DataLoader(Squares(), batch_size=4)] == [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]]
