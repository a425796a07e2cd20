"""Checkpoints: resumed equals uninterrupted, a file is whole or absent, and nothing in a file is ever executed."""

import copy
import os
import pickle
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from torchflux import (
    AccumGrad,
    Adam,
    AdamW,
    Chain,
    ClipNorm,
    Dense,
    Descent,
    Momentum,
    OptimiserChain,
    Rprop,
    Rule,
    adjust,
    back,
    freeze,
    gradient,
    load,
    save,
    setup,
    thaw,
    trainables,
    treelike,
    update,
)
from torchflux import _save as implementation

X, Y = torch.linspace(-1, 1, 12).view(4, 3), torch.linspace(0, 1, 8).view(4, 2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def mlp(seed=0):
    torch.manual_seed(seed)
    return Chain(Dense(3, 4, torch.tanh), nn.BatchNorm1d(4), nn.Dropout(0.5), Dense(4, 2))


def loss(model):
    return ((model(X + 0.1 * torch.randn(4, 3)) - Y) ** 2).mean() * (1 + random.random())


def train(model, opt, steps):
    for _ in range(steps):
        update(opt, model, gradient(loss, model)[0])


def contents(model):
    """Every tensor of a module or of an optimiser state, by name, bit for bit."""
    if isinstance(model, nn.Module):
        return {name: x.clone() for name, x in model.state_dict().items()}
    if isinstance(model, torch.optim.Optimizer):
        state = model.state_dict()["state"]
        return {f"{i}.{name}": torch.as_tensor(x).clone() for i, slots in state.items() for name, x in slots.items()}
    return {f"{name}.{i}": x.clone() for name, leaf in model.items() for i, x in enumerate(flat(leaf.state))}


def flat(tree):
    if isinstance(tree, torch.Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return [x for part in parts for x in flat(part)]


def assert_same(one, two):
    one, two = contents(one), contents(two)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name]) or one[name].dtype != two[name].dtype] == []


@dataclass
class SignDescent(Rule):
    """A rule without hyper-parameters."""

    def apply(self, state, x, dx):
        return state, 0.01 * dx.sign()


OPTIMISERS = {
    "AdamW": lambda m: setup(AdamW(0.01), m),
    "Descent": lambda m: setup(Descent(0.1), m),
    "Momentum": lambda m: setup(Momentum(0.1), m),
    "Rprop": lambda m: setup(Rprop(0.01), m),
    "chain": lambda m: setup(OptimiserChain(AccumGrad(3), ClipNorm(1.0), Adam(0.01)), m),
    "no hyper-parameters": lambda m: setup(SignDescent(), m),
    "no hyper-parameters in a chain": lambda m: setup(OptimiserChain(Momentum(1.0), SignDescent()), m),
    "torch": lambda m: torch.optim.AdamW(m.parameters(), 0.01),
    "torch with momentum": lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9),
}


# Round trips.


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_resumed_equals_uninterrupted(path, optimiser):
    random.seed(0)
    model = mlp()
    opt = OPTIMISERS[optimiser](model)
    train(model, opt, 5)
    save(path, model=model, opt=opt, step=5)
    train(model, opt, 5)

    twin = mlp(seed=1)
    again = OPTIMISERS[optimiser](twin)
    random.seed(1)
    assert load(path, model=twin, opt=again, rng=True) == {"step": 5}
    train(twin, again, 5)
    assert_same(twin, model)
    assert_same(again, opt)


def test_resuming_without_the_random_state_is_seen():
    model, twin = mlp(), mlp()
    train(model, setup(AdamW(0.01), model), 5)
    train(twin, setup(AdamW(0.01), twin), 5)
    with pytest.raises(AssertionError):
        assert_same(twin, model)


def test_the_random_state_is_set_only_on_request(path):
    torch.manual_seed(0)
    random.seed(0)
    save(path)
    expected = torch.rand(3), random.random(), random.gauss(0, 1)
    torch.manual_seed(1)
    random.seed(1)
    before = torch.get_rng_state()
    load(path)
    assert torch.equal(torch.get_rng_state(), before)
    load(path, rng=True)
    given = torch.rand(3), random.random(), random.gauss(0, 1)
    assert torch.equal(given[0], expected[0])
    assert given[1:] == expected[1:]


def test_a_pending_second_normal_number_of_python_is_kept(path):
    random.seed(0)
    random.gauss(0, 1)
    save(path)
    expected = random.gauss(0, 1)
    random.seed(1)
    load(path, rng=True)
    assert random.gauss(0, 1) == expected


def test_saving_and_loading_draw_no_random_numbers(path):
    model = mlp()
    before = torch.get_rng_state(), random.getstate()
    save(path, model=model)
    load(path, model=model)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_adjusted_and_frozen_are_kept(path):
    model = mlp()
    opt = setup(OptimiserChain(ClipNorm(1.0), Adam(0.01)), model)
    adjust(opt[0], 0.5, beta=(0.7, 0.8))
    freeze(opt["3.bias"])
    save(path, model=model, opt=opt)
    again = setup(OptimiserChain(ClipNorm(2.0), Adam(0.02)), model)
    load(path, opt=again)
    assert {name: leaf.rule for name, leaf in again.items()} == {name: leaf.rule for name, leaf in opt.items()}
    assert isinstance(again["0.weight"].rule.rules[1].beta, tuple)
    assert [name for name, leaf in again.items() if leaf.frozen] == ["3.bias"]
    thaw(again)


def test_the_papers_optimiser_is_saved(path):
    def step(opt, w):
        back((w**2).sum())
        opt()

    w, v = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    opt, again = Adam([w], 0.1), Adam([v], 0.2)
    step(opt, w)
    save(path, opt=opt, w=w.detach())
    load(path, opt=again, w=v.detach())
    step(opt, w)
    step(again, v)
    assert torch.equal(w, v)


def test_generators_are_saved(path):
    generator, twin = torch.Generator().manual_seed(3), torch.Generator()
    torch.rand(5, generator=generator)
    save(path, generator=generator)
    expected = torch.rand(5, generator=generator)
    load(path, generator=twin)
    assert torch.equal(torch.rand(5, generator=twin), expected)


DTYPES = [
    torch.bfloat16,
    torch.float16,
    torch.float64,
    torch.complex64,
    torch.int8,
    torch.int64,
    torch.bool,
    torch.uint8,
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_shape_is_kept(path, dtype):
    tree = {
        "x": torch.ones(2, 3, dtype=dtype),
        "empty": torch.ones(0, 3, dtype=dtype),
        "one": torch.ones((), dtype=dtype),
    }
    twin = {name: torch.zeros_like(x) for name, x in tree.items()}
    save(path, tree=tree)
    load(path, tree=twin)
    kept = load(path)["tree"]
    for name, x in tree.items():
        assert torch.equal(twin[name], x)
        assert (kept[name].dtype, kept[name].shape) == (x.dtype, x.shape)


def test_nan_infinity_and_views_are_kept(path):
    x = torch.tensor([[float("nan"), float("inf"), -0.0], [1.0, 2.0, 3.0]])
    save(path, x=x, turned=x.t(), row=x[1], wide=x[:, :1].expand(2, 4), loss=float("inf"))
    kept = load(path)
    assert torch.equal(kept["turned"][2], x.t()[2])
    assert torch.equal(kept["row"], x[1])
    assert torch.equal(kept["wide"][1], torch.ones(4))
    assert kept["loss"] == float("inf")
    assert kept["x"].isnan().sum() == 1
    assert kept["x"][0, 2].signbit()


def test_a_half_precision_model_resumes(path):
    model, twin = Dense(3, 2).bfloat16(), Dense(3, 2).bfloat16()
    opt, again = setup(Adam(0.1), model), setup(Adam(0.1), twin)
    step = lambda m, o: update(o, m, gradient(lambda m: (m(X.bfloat16()) ** 2).sum(), m)[0])
    step(model, opt)
    save(path, model=model, opt=opt)
    load(path, model=twin, opt=again)
    step(model, opt)
    step(twin, again)
    assert_same(twin, model)
    assert_same(again, opt)


def tied():
    model = Chain(Dense(3, 3), Dense(3, 3))
    model[1].weight = model[0].weight
    return model


def test_tied_weights_are_stored_once_and_stay_tied(path):
    model, twin = tied(), tied()
    save(path, model=model)
    with safetensors.safe_open(path, framework="pt") as file:
        assert sum("weight" in key for key in file.keys()) == 1  # noqa: SIM118  # not a dict
    load(path, model=twin)
    assert_same(twin, model)
    assert twin[0].weight is twin[1].weight


def test_untied_weights_do_not_load_into_tied_ones(path):
    save(path, model=Chain(Dense(3, 3), Dense(3, 3)))
    twin = tied()
    before = contents(twin)
    with pytest.raises(ValueError, match="tied"):
        load(path, model=twin)
    assert all(torch.equal(x, before[name]) for name, x in contents(twin).items())


@treelike
class Mixture:
    parts: tuple
    scale: torch.Tensor
    count: int = 3

    def __call__(self, x):
        return sum(part(x) for part in self.parts) * self.scale


def test_trees_in_modules_are_saved(path):
    make = lambda: Mixture((Dense(3, 2), torch.relu, Dense(3, 2)), torch.rand(2))
    model, twin = make(), make()
    save(path, model=model)
    load(path, model=twin)
    assert_same(twin, model)


def test_a_tree_with_modules_in_it_is_saved(path):
    make = lambda seed: {"net": mlp(seed), "scale": torch.rand(2), "steps": seed}
    model, twin = make(1), make(2)
    save(path, model=model)
    load(path, model=twin)
    assert_same(twin["net"], model["net"])
    assert torch.equal(twin["scale"], model["scale"])
    assert twin["steps"] == 1


def test_several_of_a_kind_in_one_tree_are_kept_apart(path):
    networks, generators = [Dense(3, 2) for _ in range(5)], [torch.Generator().manual_seed(i) for i in range(5)]
    save(path, networks=networks, generators=generators)
    kept = load(path)
    for network, stored in zip(networks, kept["networks"], strict=True):
        assert torch.equal(stored["weight"], network.weight)
    for generator, stored in zip(generators, kept["generators"], strict=True):
        assert torch.equal(stored, generator.get_state())


def test_keys_that_look_like_paths_are_kept_apart(path):
    tree = {
        "a/b": torch.zeros(1),
        "a": {"b": torch.ones(1)},
        "c.d": torch.full((1,), 2.0),
        "c": {"d": torch.full((1,), 3.0)},
    }
    save(path, tree=tree)
    kept = load(path)["tree"]
    assert [dict.__getitem__(kept, key) for key in ("a/b", "c.d")] == [torch.zeros(1), torch.full((1,), 2.0)]
    assert [dict.__getitem__(kept, key)[name].item() for key, name in ("ab", "cd")] == [1.0, 3.0]


def test_keys_that_are_numbers_stay_numbers(path):
    tree = {0: torch.zeros(1), "0": torch.ones(1), 1: "one"}
    save(path, tree=tree)
    assert load(path)["tree"] == tree
    twin = {0: torch.ones(1), "0": torch.zeros(1), 1: ""}
    with pytest.raises(ValueError, match="same path"):
        load(path, tree=twin)
    del tree["0"], twin["0"]
    save(path, tree=tree)
    load(path, tree=twin)
    assert twin == tree


def test_values_are_put_into_the_object_given(path):
    save(path, tree={"losses": [0.5, 0.25], "best": {"epoch": 3}}, losses=[0.5, 0.25])
    tree, losses = {"losses": [0.0, 0.0], "best": {"epoch": 0}}, [0.0, 0.0]
    load(path, tree=tree, losses=losses)
    assert tree == {"losses": [0.5, 0.25], "best": {"epoch": 3}}
    assert losses == [0.5, 0.25]


def test_the_name_of_the_random_state_is_refused_or_kept(path):
    try:
        save(path, rng=torch.ones(2))
    except (TypeError, ValueError):
        return
    assert torch.equal(load(path)["rng"], torch.ones(2))


def test_a_model_without_tensors_is_saved(path):
    save(path, model=Chain(torch.tanh))
    load(path, model=Chain(torch.tanh))


def test_plain_values_come_back(path):
    plain = {
        "losses": [0.5, 0.25],
        "name": "näme",
        "nested": {"a": [1, None, True]},
        "empty": [],
        "best": None,
        "none": {},
    }
    save(path, step=3, **plain)
    assert load(path) == {"step": 3, **plain}


def test_the_models_weights_can_be_read_by_others(path):
    model = mlp()
    save(path, model=model)
    stored = safetensors.torch.load_file(path)
    assert sum(torch.equal(x, model[0].weight) for x in stored.values()) == 1


def test_saving_changes_nothing(path):
    model = mlp()
    opt = setup(Adam(0.1), model)
    train(model, opt, 1)
    before, states = contents(model), contents(opt)
    save(path, model=model, opt=opt)
    assert all(torch.equal(x, before[name]) for name, x in contents(model).items())
    assert all(torch.equal(x, states[name]) for name, x in contents(opt).items())
    assert all(x.requires_grad for x in trainables(model))


def test_loading_works_in_place(path):
    model, twin = mlp(), mlp(1)
    save(path, model=model)
    parameters = list(twin.parameters())
    load(path, model=twin)
    assert all(x is y for x, y in zip(parameters, twin.parameters(), strict=True))
    assert all(x.requires_grad and x.is_leaf for x in parameters)


def test_a_part_may_be_loaded(path):
    model, twin = mlp(), mlp(1)
    save(path, model=model, opt=setup(Adam(), model), losses=[1.0])
    kept = load(path, model=twin)
    assert_same(twin, model)
    assert kept["losses"] == [1.0]
    assert set(kept) == {"step", "opt", "losses"}


def test_paths_may_be_strings_and_names_may_have_spaces(tmp_path):
    for name in ("plain", "with space.safetensors", "ünïcode"):
        save(str(tmp_path / name), x=torch.ones(2))
        assert torch.equal(load(str(tmp_path / name))["x"], torch.ones(2))


# A file is whole or it is what it was.


SAVING = """
import itertools, os, random, signal, sys, time, torch
from torchflux import load, save

path = sys.argv[1]
torch.set_num_threads(1)
save(path, x=torch.zeros(100_000), step=0)

def check():
    kept = load(path)
    assert (kept["x"] == kept["step"]).all(), (kept["x"].unique(), kept["step"])
    return kept["step"]

def saving(start):  # in a process of its own, for ever
    if pid := os.fork():
        return pid
    for i in itertools.count(start):
        save(path, x=torch.full((100_000,), float(i)), step=i)
"""
KILLED = """
for _ in range(40):
    pid = saving(check() + 1)
    time.sleep(random.uniform(0.0, 0.03))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
assert check() > 0
"""
READ = """
pid = saving(1)
try:
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        check()
    assert check() > 0
finally:
    os.kill(pid, signal.SIGKILL)
"""


@pytest.mark.parametrize("happens", [KILLED, READ], ids=["killed while saving", "read while saving"])
def test_a_file_is_whole_whatever_happens(path, happens):
    source = str(Path(implementation.__file__).parents[1])
    command = [sys.executable, "-c", SAVING + happens, str(path)]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def unchanged(path, before):
    """The file is what it was and nothing else is in its folder."""
    return path.read_bytes() == before and os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    "value", [object(), {"a": [object()]}, {1, 2}, {"x": torch.ones(2), "f": lambda x: x}, b"bytes", 1j, nn.ReLU]
)
def test_what_cannot_be_saved_is_refused_and_nothing_is_written(path, value):
    save(path, x=torch.ones(2))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save(path, value=value)
    assert unchanged(path, before)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(path, monkeypatch, error):
    save(path, x=torch.ones(2))
    before = path.read_bytes()

    def fails(file):
        raise error

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(type(error)):
        save(path, x=torch.zeros(2))
    assert unchanged(path, before)


def test_a_rename_that_fails_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    save(path, x=torch.ones(2))
    before = path.read_bytes()

    def fails(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="Input/output"):
        save(path, x=torch.zeros(2))
    assert unchanged(path, before)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(OSError, match="missing"):
        save(tmp_path / "missing" / "checkpoint", x=torch.ones(2))


def test_a_read_only_folder_leaves_the_old_file_alone():
    """As root, who may write anywhere, as somebody else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        save(path, x=torch.ones(2))
        before = path.read_bytes()
        path.chmod(0o644)
        path.parent.chmod(0o555)
        user = os.geteuid()
        try:
            os.seteuid(user or 65534)
            with pytest.raises(PermissionError):
                save(path, x=torch.zeros(2))
            assert unchanged(path, before)
        finally:
            os.seteuid(user)
            path.parent.chmod(0o755)


def test_the_permissions_are_those_of_any_new_file(path):
    other = path.with_name("other")
    other.touch()
    save(path, x=torch.ones(2))
    assert path.stat().st_mode == other.stat().st_mode


def test_a_link_is_written_through_or_replaced_whole(path):
    target = path.with_name("target")
    save(target, x=torch.ones(2))
    path.symlink_to(target)
    save(path, x=torch.zeros(2))
    assert torch.equal(load(path)["x"], torch.zeros(2))
    assert load(target)["x"].shape == (2,)


# What is no checkpoint.


def test_a_file_that_is_cut_short_is_refused(path):
    model = mlp()
    opt = setup(Adam(), model)
    save(path, model=model, opt=opt)
    before, states, whole = contents(model), contents(opt), path.read_bytes()
    cut = path.with_name("cut")
    for n in [0, 1, 7, 8, 9, 100, *range(200, len(whole), len(whole) // 40), len(whole) - 1]:
        cut.write_bytes(whole[:n])
        with pytest.raises(ValueError, match="cut"):
            load(cut, model=model, opt=opt, rng=True)
    assert all(torch.equal(x, before[name]) for name, x in contents(model).items())
    assert all(torch.equal(x, states[name]) for name, x in contents(opt).items())


class Malicious:
    def __init__(self, trap):
        self.trap = trap

    def __reduce__(self):
        return os.system, (f"touch {self.trap}",)


@pytest.mark.parametrize(
    "write", [lambda x, path: path.write_bytes(pickle.dumps(x)), torch.save], ids=["pickle", "torch"]
)
def test_a_pickle_is_refused_and_never_executed(path, write):
    trap = path.with_name("trap")
    write({"model": Malicious(trap)}, path)
    with pytest.raises(ValueError, match="no safetensors file"):
        load(path, model=mlp())
    assert not trap.exists()
    if write is not torch.save:  # the trap works
        pickle.loads(path.read_bytes())
        assert trap.exists()


def test_other_files_are_refused_by_name(path):
    path.write_bytes(b"text, and a good deal of it, long enough to have a length in front")
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors"):
        load(path)
    safetensors.torch.save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=r"not written by torchflux\.save.*loadmodel"):
        load(path)
    safetensors.torch.save_file({"weight": torch.ones(2)}, path, {"format": "pt", "torchflux checkpoint 1": "{}"})
    with pytest.raises(ValueError, match=r"not written by torchflux\.save"):
        load(path)


@pytest.mark.parametrize(
    "metadata", ["{", "{}", "[]", "1", '{"trees": {"tensor": "model 0"}}', '{"a": 1, "b": {"c": 2}}']
)
def test_damaged_metadata_is_refused(path, metadata):
    safetensors.torch.save_file({"weight": torch.ones(2)}, path, {implementation.FORMAT: metadata})
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors"):
        load(path)


def test_a_missing_file_is_an_error(path):
    for missing in (path, path.parent):
        with pytest.raises(FileNotFoundError, match="no checkpoint"):
            load(missing)


# What doesn't fit.


def other_model():
    return Chain(Dense(3, 4, torch.tanh), nn.BatchNorm1d(4), nn.Dropout(0.5), Dense(4, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (other_model, r"3\.weight: shape \(2, 4\), the model's is \(3, 4\)"),
        (lambda: Chain(*mlp(), Dense(2, 2)), r"missing: 4\.weight"),
        (lambda: mlp()[:3], r"not in the model: 3\.weight"),
    ],
)
def test_a_model_that_does_not_fit_is_named_and_unchanged(path, make, message):
    save(path, model=mlp())
    model = make()
    before = contents(model)
    with pytest.raises(ValueError, match=message):
        load(path, model=model, rng=True)
    assert all(torch.equal(x, before[name]) for name, x in contents(model).items())


def test_a_state_that_does_not_fit_is_named_and_unchanged(path):
    model = mlp()
    opt = setup(Adam(0.1), model)
    train(model, opt, 1)
    save(path, opt=opt)
    for other in (setup(Adam(0.1), other_model()), setup(Momentum(0.1), mlp()), setup(Adam(0.1), mlp()[:3])):
        before = contents(other)
        with pytest.raises(ValueError, match=r"'opt' in .*checkpoint.* doesn't fit"):
            load(path, opt=other)
        assert all(torch.equal(x, before[name]) for name, x in contents(other).items())


def test_a_shape_of_a_tree_that_does_not_fit_is_named(path):
    save(path, tree={"a": [torch.ones(2), torch.ones(3)]})
    tree = {"a": [torch.zeros(2), torch.zeros(1)]}
    with pytest.raises(ValueError, match=r"a\.1"):
        load(path, tree=tree)
    assert torch.equal(tree["a"][0], torch.zeros(2))
    with pytest.raises(ValueError, match="'tree'"):
        load(path, tree={"a": [1.0, torch.zeros(3)]})
    save(path, tree={"a": 1.0})
    with pytest.raises(ValueError, match="'tree'"):
        load(path, tree={"a": torch.zeros(2)})


def test_nothing_is_loaded_where_one_part_does_not_fit(path):
    model = mlp()
    save(path, model=model, opt=setup(Adam(0.1), model))
    twin = mlp(1)
    before, drawn = contents(twin), torch.get_rng_state()
    with pytest.raises(ValueError, match="'opt'"):
        load(path, model=twin, opt=setup(Momentum(0.1), twin), rng=True)
    assert all(torch.equal(x, before[name]) for name, x in contents(twin).items())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_a_name_that_is_not_there_is_refused(path):
    save(path, model=mlp())
    with pytest.raises(ValueError, match=r"holds no 'modle'; it holds .*model"):
        load(path, modle=mlp())


def test_a_torch_optimiser_that_does_not_fit_is_refused(path):
    model = mlp()
    opt = torch.optim.AdamW(model.parameters())
    train(model, opt, 1)
    save(path, opt=opt)
    for other in (torch.optim.AdamW(mlp()[:3].parameters()), setup(Adam(), model)):
        with pytest.raises(ValueError, match="'opt'"):
            load(path, opt=other)


def test_loaded_values_are_the_callers_own(path):
    model = mlp()
    save(path, model=model)
    kept = load(path)["model"]
    kept["0.weight"].zero_()
    assert load(path)["model"]["0.weight"].abs().sum() > 0
    twin = mlp(1)
    load(path, model=twin)
    copied = copy.deepcopy(contents(twin))
    save(path, model=mlp(2))  # replaces the file that was read
    assert all(torch.equal(x, copied[name]) for name, x in contents(twin).items())
