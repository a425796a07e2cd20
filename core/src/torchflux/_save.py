"""Checkpoints: one safetensors file, written whole or not at all; no pickle is read or written."""

import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ._model import loadmodel, state
from ._optimise import Leaf, Optimiser
from ._walk import PathDict, children, leaves, rebuild, tensors

__all__ = ["load", "save"]

FORMAT = "torchflux checkpoint 1"


def save(path: str | os.PathLike[str], *, step: int = 0, **trees: Any) -> None:
    """Writes models, optimiser states, generators and any other trees into one safetensors file.

    The state of the global random generators (PyTorch's on all devices, and Python's) goes in as well.
    The file is written beside `path` and then takes its place: killed at any moment, `path` is what it was
    or what it is to be.

    Arguments:
        step: how far training has come.
        trees: modules, optimiser states (ours or `torch.optim`'s), `torch.Generator`s, and trees of tensors,
            numbers and strings, each under a name.

    Raises:
        TypeError: a tree holds something that is none of these; nothing is written.

    >>> import os, tempfile
    >>> from torchflux import Adam, Dense, setup
    >>> model = Dense(2, 2)
    >>> path = os.path.join(tempfile.mkdtemp(), "checkpoint.safetensors")
    >>> save(path, model=model, opt=setup(Adam(), model), step=7, losses=[0.5, 0.25])
    >>> kept = load(path, model=model, opt=setup(Adam(), model), rng=True)
    >>> kept["step"], kept["losses"]
    (7, [0.5, 0.25])
    """
    arrays: dict[str, Tensor] = {}
    ties: dict[str, str] = {}
    plain: dict[str, Any] = {}
    for name, tree in {"step": step, **trees, "rng": _rng_state()}.items():
        named = _named(tree)
        plain[name] = {key: x for key, x in named.items() if not isinstance(x, Tensor)} if tensors(named) else tree
        first: dict[int, str] = {}
        for key, x in named.items():
            if isinstance(x, Tensor):
                full = f"{name}/{key}"
                ties[full] = first.setdefault(id(x), full)  # tied tensors are stored once
                arrays[ties[full]] = x.detach().cpu().contiguous().clone()
    _write(Path(path), arrays, {"torchflux": json.dumps({"format": FORMAT, "plain": plain, "ties": ties})})


def load(path: str | os.PathLike[str], *, rng: bool = False, **into: Any) -> dict[str, Any]:
    """Reads what `save` wrote: each tree into the object given under its name, in place.

    Arguments:
        rng: whether to set the global random generators to what they were.
        into: models, optimiser states, generators and trees of tensors to load into.

    Returns:
        The step and every tree that isn't loaded into anything: one that holds tensors as a `PathDict`, any other
        as JSON keeps it (tuples become lists).

    Raises:
        ValueError: the file is cut short, is not one of ours, or doesn't fit what it is loaded into.
        FileNotFoundError: there is no such file.
    """
    plain, arrays = _read(Path(path))
    kept = {name: PathDict({**tree, **arrays[name]}) if name in arrays else tree for name, tree in plain.items()}
    for name, target in into.items():
        if name not in kept:
            raise ValueError(f"{path} holds no {name!r}; it holds {', '.join(kept)}")
        try:
            _put(target, kept.pop(name))
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{name!r} in {path} doesn't fit what it is loaded into: {error}") from error
    generators = kept.pop("rng")
    if rng:
        _set_rng_state(generators)
    return kept


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.close(handle)
        save_file(tensors, temporary, metadata)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    """What isn't tensors, by tree, and the tensors, by tree and path."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {}).get("torchflux", "{}"))
            stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or is cut short ({error})") from error
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path} was not written by torchflux.save; for the weights in any other safetensors file use "
            "loadmodel(model, safetensors.torch.load_file(path))"
        )
    arrays: dict[str, dict[str, Tensor]] = {}
    for full, key in content["ties"].items():
        name, _, path_in_tree = full.partition("/")
        arrays.setdefault(name, {})[path_in_tree] = stored[key]
    return content["plain"], arrays


def _named(tree: Any) -> dict[str, Any]:
    """The tensors, numbers and strings of a tree by path."""
    if isinstance(tree, torch.optim.Optimizer):
        content = tree.state_dict()
        return {**dict(leaves(content["state"], "state")), "param_groups": content["param_groups"]}
    if isinstance(tree, nn.Module):
        return state(tree)
    if isinstance(tree, torch.Generator):
        return {"state": tree.get_state()}
    return dict(leaves(tree.state if isinstance(tree, Optimiser) else tree))


def _put(target: Any, values: Any) -> None:
    """Puts saved values into an object, in place."""
    if isinstance(target, nn.Module):
        loadmodel(target, values)
    elif isinstance(target, torch.Generator):
        target.set_state(values["state"])
    elif isinstance(target, torch.optim.Optimizer):
        groups = values.pop("param_groups")
        slots: dict[int, Any] = {}
        for path, x in values.items():
            _, index, name = path.split(".", 2)
            slots.setdefault(int(index), {})[name] = x
        target.load_state_dict({"state": slots, "param_groups": groups})
    else:
        _refill(target.state if isinstance(target, Optimiser) else target, values)


def _refill(target: Any, values: dict[str, Any]) -> None:
    expected = dict(leaves(target)).keys()
    if expected != values.keys():
        raise ValueError(f"missing {sorted(expected - values.keys())}, left over {sorted(values.keys() - expected)}")
    new = _refilled(target, "", values)
    if isinstance(target, dict):
        target.update(new)
    rules: list[Any] = []  # equal rules are shared, so that their parameters are updated together
    for leaf in (part for part in children(target).values() if isinstance(part, Leaf)):
        if leaf.rule not in rules:
            rules.append(leaf.rule)
        leaf.rule = rules[rules.index(leaf.rule)]


def _refilled(tree: Any, path: str, values: dict[str, Any]) -> Any:
    if isinstance(tree, Tensor):
        if tree.shape != values[path].shape:
            raise ValueError(f"{path} has shape {tuple(tree.shape)}, the saved one {tuple(values[path].shape)}")
        with torch.no_grad():
            return tree.copy_(values[path])
    parts = children(tree)
    if not parts:
        return values.get(path, tree)
    prefix = f"{path}." if path else ""
    return rebuild(tree, {key: _refilled(part, f"{prefix}{key}", values) for key, part in parts.items()})


def _rng_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    version, words, gauss = random.getstate()
    python = {"version": version, "words": torch.tensor(words), "gauss": gauss}
    return {"torch": torch.get_rng_state(), "cuda": cuda, "python": python}


def _set_rng_state(state: PathDict) -> None:
    torch.set_rng_state(state["torch"])
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    cuda = [x for path, x in state.items() if path.startswith("cuda.")]
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
