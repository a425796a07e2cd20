"""Checkpoints: what is saved comes back as it was, into the very objects that the script holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from torchflux import Adam, Chain, Dense, OptimiserChain, WeightDecay, adjust, back, setup, trainables
from torchflux_lab import Checkpoint, LabError, Metrics, Run, _checkpoint


@pytest.fixture(autouse=True)
def another_process() -> Callable[[], None]:
    """What makes the next checkpoint one of another process, which goes on with the run."""
    _checkpoint.taken.clear()
    return _checkpoint.taken.clear


@dataclass
class Best:
    loss: float
    at: int


@dataclass(frozen=True)
class Frozen:
    position: torch.Tensor
    name: str


class Pair(NamedTuple):
    a: Any
    b: Any


class Counter:
    """Has the two methods that PyTorch's own stateful objects have."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


# Each state by what makes it, what a step does to it, and what is then to be seen of it.
Kind = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any]]
GENERATORS: dict[str, Kind] = {
    "PyTorch's": (torch.Generator, lambda x: torch.rand(1, generator=x), lambda x: x.get_state().tolist()),
    "NumPy's": (lambda: np.random.default_rng(1), lambda x: x.random(), lambda x: x.bit_generator.state),
    "NumPy's MT19937": (
        lambda: np.random.Generator(np.random.MT19937(1)),
        lambda x: x.random(),
        lambda x: (x.bit_generator.state["state"]["key"].tolist(), x.bit_generator.state["state"]["pos"]),
    ),
    "NumPy's old one": (
        lambda: np.random.RandomState(1),
        lambda x: x.normal(),
        lambda x: (x.get_state()[1].tolist(), *x.get_state()[2:]),
    ),
    "Python's": (lambda: random.Random(1), lambda x: x.gauss(), lambda x: x.getstate()),
    "two in a dict": (
        lambda: {"order": torch.Generator(), "noise": np.random.default_rng(0)},
        lambda x: (torch.rand(1, generator=x["order"]), x["noise"].random()),
        lambda x: (x["order"].get_state().tolist(), x["noise"].bit_generator.state),
    ),
}
KINDS: dict[str, Kind] = {
    "module": (lambda: nn.Linear(2, 1), lambda x: nn.init.uniform_(x.weight), lambda x: x.weight.tolist()),
    "buffers": (lambda: nn.BatchNorm1d(2), lambda x: x(torch.rand(3, 2)), lambda x: x.running_mean.tolist()),
    "state_dict": (Counter, lambda x: setattr(x, "count", 7), lambda x: x.count),
    "tensor": (lambda: torch.zeros(2), lambda x: x.add_(1), lambda x: x.tolist()),
    "array": (lambda: np.zeros(2), lambda x: np.add(x, 1, out=x), lambda x: x.tolist()),
    "growing list": (list, lambda x: x.append((0.1, None, [1])), lambda x: x),
    "shrinking list": (lambda: [1, 2, 3], lambda x: x.pop(), lambda x: x),
    "growing dict": (dict, lambda x: x.update({"a": 1, 2: float("inf")}), lambda x: x),
    "namespace": (lambda: SimpleNamespace(a=1), lambda x: vars(x).update(a=0.1, b=True), vars),
    "dataclass": (lambda: Best(1.0, 0), lambda x: vars(x).update(loss=0.1, at=5), lambda x: x),
    "tensors in a list": (
        list,
        lambda x: x.append(torch.ones(2, dtype=torch.bfloat16)),
        lambda x: [(y.dtype, y.tolist()) for y in x],
    ),
    "arrays in a dict": (
        dict,
        lambda x: x.update(a=np.arange(3), b=np.float32(0.1)),
        lambda x: [(y.dtype, y.tolist()) for y in x.values()],
    ),
    "frozen in a dict": (
        lambda: {"chain": Frozen(torch.zeros(2), "old")},
        lambda x: x.update(chain=Frozen(torch.ones(2), "new")),
        lambda x: (type(x["chain"]), x["chain"].position.tolist(), x["chain"].name),
    ),
    "named tuple in a namespace": (
        lambda: SimpleNamespace(state=Pair(0, torch.zeros(1))),
        lambda x: vars(x).update(state=Pair(1, torch.ones(1))),
        lambda x: (type(x.state), x.state.a, x.state.b.tolist()),
    ),
}


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_goes_on(kind: str, out: Path, another_process: Callable[[], None]) -> None:
    make, draw, seen = GENERATORS[kind]
    old, new = make(), make()
    draw(old)
    Checkpoint(out, x=old).save(1)
    another_process()
    Checkpoint(out, x=new).restore()
    for _ in range(3):
        assert seen(new) == seen(old)
        draw(old), draw(new)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_comes_back_into_the_same_object(
    kind: str, out: Path, another_process: Callable[[], None]
) -> None:
    make, step, seen = KINDS[kind]
    torch.manual_seed(0)
    old = make()
    step(old)
    due = seen(old)
    Checkpoint(out, x=old).save(3)
    another_process()
    new = make()
    assert seen(new) != due  # a canary: it has to be put back
    assert Checkpoint(out, x=new).restore() == 3
    assert seen(new) == due


def trained(steps: range, keep: Checkpoint | None, made: Any) -> list[Any]:
    """Weights after each step."""
    model, opt, rng = made
    seen = []
    for step in steps:
        x = torch.randn(8, 2, generator=rng)
        back(model(x).square().mean())
        if isinstance(opt, torch.optim.Optimizer):
            opt.step()
            opt.zero_grad()
        else:
            adjust(opt, 0.1 / (1 + step))
            opt()
        seen.append([w.tolist() for w in trainables(model)])
        if keep:
            keep.save(step + 1)
    return seen


OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "Adam": lambda m: Adam(trainables(m), 0.1),
    "a chain": lambda m: OptimiserChain(trainables(m), WeightDecay(0.01), Adam(0.1, beta=(0.5, 0.99))),
    "torch's AdamW": lambda m: torch.optim.AdamW(m.parameters(), 0.1),
    "torch's SGD": lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_training_goes_on_bit_for_bit(name: str, out: Path, another_process: Callable[[], None]) -> None:
    def make() -> Any:
        torch.manual_seed(0)
        model = Chain(Dense(2, 3, torch.tanh), Dense(3, 1))
        return model, OPTIMISERS[name](model), torch.Generator().manual_seed(1)

    whole = trained(range(6), None, make())
    first = make()
    trained(range(3), Checkpoint(out, **dict(zip("mor", first, strict=True))), first)
    another_process()
    second = make()
    start = Checkpoint(out, **dict(zip("mor", second, strict=True))).restore()
    assert start == 3
    assert trained(range(start, 6), None, second) == whole[3:]


def test_the_global_generators_go_on(out: Path, another_process: Callable[[], None]) -> None:
    draw = lambda: (torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random())  # noqa: NPY002
    Checkpoint(out).save(1)
    due = draw()
    another_process()
    assert draw() != due
    Checkpoint(out).restore()
    assert draw() == due


def test_weights_that_an_optimiser_holds_stay_the_same_tensors(out: Path, another_process: Callable[[], None]) -> None:
    weights = {"w": torch.ones(2, requires_grad=True)}
    Checkpoint(out, weights=weights, opt=setup(Adam(), weights)).save(1)
    another_process()
    weights = {"w": torch.zeros(2, requires_grad=True)}
    held = weights["w"]
    Checkpoint(out, weights=weights, opt=setup(Adam(), weights)).restore()
    assert weights["w"] is held
    assert held.tolist() == [1.0, 1.0]


def test_the_layout_of_tensors_and_arrays_is_kept(out: Path, another_process: Callable[[], None]) -> None:
    """A product of the same numbers in another layout may be another one in its last bit."""
    make = lambda: {
        "a": torch.rand(3, 4, 5).permute(2, 0, 1),
        "b": np.asfortranarray(np.ones((2, 3))),
        "c": torch.ones(4),
    }
    old = make()
    Checkpoint(out, x=old).save(1)
    another_process()
    new: dict[str, Any] = {}
    Checkpoint(out, x=new).restore()
    assert new["a"].stride() == old["a"].stride() == (1, 20, 5)
    assert torch.equal(new["a"], old["a"])
    assert new["b"].flags.f_contiguous
    assert not new["b"].flags.c_contiguous
    assert all(x.data_ptr() % 64 == 0 for x in (new["a"], new["c"]))


def test_what_trains_does_so_still(out: Path, another_process: Callable[[], None]) -> None:
    Checkpoint(out, x=[torch.ones(2, requires_grad=True), torch.ones(2)]).save(1)
    another_process()
    new: list[Any] = []
    Checkpoint(out, x=new).restore()
    assert [x.requires_grad for x in new] == [True, False]


# The loop.


def test_a_loop_goes_on_where_it_was(out: Path, another_process: Callable[[], None]) -> None:
    done: list[int] = []
    for step in Checkpoint(out, done=done).steps(5):
        if step == 3:
            break
        done.append(step)
    another_process()
    again: list[int] = []
    steps = Checkpoint(out, done=again).steps(5)
    assert len(steps) == 2
    for step in steps:
        again.append(step)
    assert again == [0, 1, 2, 3, 4]
    another_process()
    over: list[int] = []
    assert list(Checkpoint(out, done=over).steps(5)) == []
    assert over == again


def test_a_loop_over_a_sequence(out: Path, another_process: Callable[[], None]) -> None:
    def loop(stop: str) -> list[str]:
        done: list[str] = []
        for name in Checkpoint(out, done=done).steps("abcde", every=2):
            if name == stop:
                break
            done.append(name)
        return done

    assert loop("d") == ["a", "b", "c"]  # the third was done, and not yet saved
    another_process()
    assert loop("") == ["a", "b", "c", "d", "e"]


def test_metrics_are_cut_to_the_last_of_several_checkpoints(out: Path, another_process: Callable[[], None]) -> None:
    def run(stop: int) -> None:
        metrics = Metrics(out)
        metrics(begun=True)
        for name in ("first", "second"):
            for step in Checkpoint(out, name).steps(3):
                metrics(loop=name, step=step)
                if (name, step) == ("second", stop):
                    return
            metrics(done=name)

    run(1)
    another_process()
    run(-1)
    loops = [[{"loop": name, "step": step} for step in range(3)] + [{"done": name}] for name in ("first", "second")]
    assert Run.read(out).metrics() == [{"begun": True}, *loops[0], *loops[1]]


def test_outside_of_a_run_nothing_is_written_or_read(tmp_path: Path) -> None:
    for _ in range(2):
        checkpoint = Checkpoint(tmp_path, x=[1])
        assert list(checkpoint.steps(3)) == [0, 1, 2]
    assert list(tmp_path.iterdir()) == []


# What is refused.


def test_two_loops_of_one_name_are_refused(out: Path) -> None:
    Checkpoint(out, x=[]).save(1)
    with pytest.raises(LabError, match="There are two checkpoints 'loop' in this run"):
        Checkpoint(out, x=[])
    assert Checkpoint(out, "second", x=[]).restore() == 0


@pytest.mark.parametrize("x", [0.5, 3, "text", None, (1, 2), np.float64(0.5), Frozen(torch.zeros(1), "a")])
def test_what_cannot_change_in_place_is_refused(x: Any, out: Path) -> None:
    with pytest.raises(TypeError, match=r"could not be put back: .* does not change in place. Keep it in a dict"):
        Checkpoint(out, x=x)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ([print], r"x\[0\] is a builtin_function_or_method, which a checkpoint cannot keep"),
        ({"a": {1, 2}}, r"x\['a'\] is a set"),
        ({(1, 2): 3}, r"x has the key \(1, 2\)"),
        (SimpleNamespace(f=open), r"x\.f is a builtin_function"),
    ],
)
def test_what_cannot_be_kept_is_refused_at_once(x: Any, said: str, out: Path) -> None:
    with pytest.raises(TypeError, match=said):
        Checkpoint(out, x=x)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({"x": torch.zeros(3)}, r"float32 \(2,\) for x, which is float32 \(3,\) now"),
        ({"x": torch.zeros(2).double()}, r"float32 \(2,\) for x, which is float64 \(2,\) now"),
        ({"x": torch.zeros(2), "y": []}, "another state: y is only"),
        ({"x": nn.Linear(2, 1)}, "holds no 'whole x'"),
        ({"x": [1]}, "something else for x than a list"),
    ],
)
def test_another_state_is_refused(
    new: dict[str, Any], said: str, out: Path, another_process: Callable[[], None]
) -> None:
    Checkpoint(out, x=torch.zeros(2)).save(1)
    another_process()
    with pytest.raises(LabError, match=said):
        Checkpoint(out, **new).restore()


@pytest.mark.parametrize("inside", [True, False])
def test_a_checkpoint_has_one_loop(inside: bool, out: Path, tmp_path: Path) -> None:
    """The second one would have nothing left to do."""
    checkpoint = Checkpoint(out if inside else tmp_path / "nowhere")
    assert list(checkpoint.steps(2)) == [0, 1]
    with pytest.raises(LabError, match="this one has had its loop"):
        checkpoint.steps(2)


def test_another_loops_damaged_file_is_refused_too(out: Path, another_process: Callable[[], None]) -> None:
    Checkpoint(out).save(1)
    (out / "checkpoints" / "other.safetensors").write_bytes(b"torn")
    another_process()
    with pytest.raises(LabError, match=r"other\.safetensors is no safetensors file"):
        Checkpoint(out).restore()


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "a/"])
def test_a_name_is_a_files(name: str, out: Path) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        Checkpoint(out, name)


def test_a_state_may_have_any_name(out: Path, another_process: Callable[[], None]) -> None:
    Checkpoint(out, "first", name=[1], out=[2], rng=[3], step=[4], state=[5], metrics=[6]).save(7)
    another_process()
    names = ("name", "out", "rng", "step", "state", "metrics")
    new: dict[str, list[int]] = {name: [] for name in names}
    assert Checkpoint(out, "first", **new).restore() == 7
    assert [new[name] for name in names] == [[1], [2], [3], [4], [5], [6]]


def test_no_loop_is_saved_less_than_never(out: Path) -> None:
    with pytest.raises(ValueError, match="every=0"):
        Checkpoint(out).steps(3, every=0)


def test_a_damaged_file_is_refused(out: Path, another_process: Callable[[], None]) -> None:
    Checkpoint(out, x=torch.zeros(2)).save(1)
    path = out / "checkpoints" / "loop.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    another_process()
    with pytest.raises(LabError, match=r"cannot be put back: .*cut short"):
        Checkpoint(out, x=torch.zeros(2)).restore()
