"""Checkpoints: one safetensors file, written whole or not at all; no pickle is read or written."""

import dataclasses
import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ._model import loadmodel, state
from ._optimise import Leaf, Optimiser
from ._walk import children, fmap

__all__ = ["load", "save"]

FORMAT = "torchflux checkpoint 1"
PLAIN = (bool, int, float, str, type(None))


def save(path: str | os.PathLike[str], *, step: int = 0, **trees: Any) -> None:
    """Writes models, optimiser states, generators and any other trees into one safetensors file.

    The state of the global random generators (PyTorch's on all devices, Python's, NumPy's) goes in as well.
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
    tensors: dict[str, Tensor] = {}
    named = {"step": step, **trees, "rng": _rng_state()}
    form = {name: _encode(tree, name, tensors, {}) for name, tree in named.items()}
    _write(Path(path), tensors, {"torchflux": json.dumps({"format": FORMAT, "trees": form})})


def load(path: str | os.PathLike[str], *, rng: bool = False, **into: Any) -> dict[str, Any]:
    """Reads what `save` wrote: each tree into the object given under its name, in place.

    Arguments:
        rng: whether to set the global random generators to what they were.
        into: models, optimiser states, generators and trees of tensors to load into.

    Returns:
        The step and every tree that isn't loaded into anything; of a model its `state`.

    Raises:
        ValueError: the file is cut short, is not one of ours, or doesn't fit what it is loaded into.
        FileNotFoundError: there is no such file.
    """
    form, tensors = _read(Path(path))
    kept = {name: _decode(tree, tensors) for name, tree in form.items()}
    for name, target in into.items():
        if name not in kept:
            raise ValueError(f"{path} holds no {name!r}; it holds {', '.join(kept)}")
        try:
            _put(target, kept.pop(name))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{name!r} in {path} doesn't fit: {error}") from error
    state = kept.pop("rng")
    if rng:
        _set_rng_state(state)
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


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("torchflux")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or is cut short ({error})") from error
    content = json.loads(header) if header else {}
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path} was not written by torchflux.save; for the weights in any other safetensors file use "
            "loadmodel(model, safetensors.torch.load_file(path))"
        )
    return content["trees"], tensors


# The form of a tree is written as JSON, with its tensors by name.


def _encode(x: Any, path: str, tensors: dict[str, Tensor], seen: dict[int, str]) -> Any:
    if isinstance(x, PLAIN):
        return x
    if isinstance(x, Tensor):
        return {"tensor": _keep(x, path, tensors, seen)}
    if isinstance(x, torch.Generator):
        return {"tensor": _keep(x.get_state(), path, tensors, {})}
    simpler = _simpler(x)
    if simpler is not x:
        return _encode(simpler, path, tensors, seen)
    if isinstance(x, dict):
        return {"dict": [[key, _encode(part, f"{path}/{key}", tensors, seen)] for key, part in x.items()]}
    if isinstance(x, tuple | list):
        kind = "tuple" if isinstance(x, tuple) else "list"
        return {kind: [_encode(part, f"{path}/{i}", tensors, seen) for i, part in enumerate(x)]}
    raise TypeError(
        f"can't save {path}: {type(x).__name__} is no tensor, number, string, module or nesting of these"
    )


def _simpler(x: Any) -> Any:
    """Models, optimisers and dataclasses as dicts."""
    if isinstance(x, nn.Module):
        return state(x)
    if isinstance(x, Optimiser):
        return x.state
    if isinstance(x, torch.optim.Optimizer):
        return x.state_dict()
    return children(x) if dataclasses.is_dataclass(x) else x


def _keep(x: Tensor, path: str, tensors: dict[str, Tensor], seen: dict[int, str]) -> str:
    if id(x) in seen:  # tied: stored once
        return seen[id(x)]
    seen[id(x)] = path
    x = x.detach().cpu()
    tensors[path] = (torch.view_as_real(x) if x.is_complex() else x).contiguous().clone()
    return path if not x.is_complex() else f"{path} complex"


def _decode(form: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(form, dict):
        return form
    ((kind, content),) = form.items()
    if kind == "tensor":
        name, _, is_complex = content.partition(" complex")
        return torch.view_as_complex(tensors[name]) if content.endswith(" complex") else tensors[name]
    if kind == "dict":
        return {key: _decode(part, tensors) for key, part in content}
    parts = [_decode(part, tensors) for part in content]
    return tuple(parts) if kind == "tuple" else parts


def _put(target: Any, value: Any) -> None:
    if isinstance(target, nn.Module):
        loadmodel(target, value)
    elif isinstance(target, torch.optim.Optimizer):
        target.load_state_dict(value)
    elif isinstance(target, torch.Generator):
        target.set_state(value)
    elif isinstance(target, Optimiser):
        _put(target.state, value)
    elif isinstance(target, dict) and all(isinstance(part, Leaf) for part in target.values()):
        _put_optimiser(target, value)
    else:
        fmap(_copy, target, value, ties=False)


def _put_optimiser(target: dict[str, Leaf], value: dict[str, Any]) -> None:
    if target.keys() != value.keys():
        raise ValueError(f"the optimiser state is for {list(value)}, the model trains {list(target)}")
    rules: list[Any] = []  # equal rules are shared, so that their parameters are updated together
    for path, leaf in target.items():
        fmap(_copy, leaf.state, value[path]["state"], ties=False)
        rule = _with(leaf.rule, value[path]["rule"])
        if rule not in rules:
            rules.append(rule)
        leaf.rule, leaf.frozen = rules[rules.index(rule)], value[path]["frozen"]


def _with(rule: Any, value: dict[str, Any]) -> Any:
    """The rule with the hyper-parameters that were saved."""
    if "rules" in value:
        return type(rule)(*(_with(part, v) for part, v in zip(rule.rules, value["rules"], strict=True)))
    return dataclasses.replace(rule, **value)


def _copy(x: Tensor, value: Tensor) -> Tensor:
    if x.shape != value.shape:
        raise ValueError(f"a tensor of shape {tuple(value.shape)} for one of shape {tuple(x.shape)}")
    with torch.no_grad():
        return x.copy_(value)


def _rng_state() -> dict[str, Any]:
    _, keys, *rest = np.random.get_state()  # noqa: NPY002  # the global one, which user code may use
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
    }


def _set_rng_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
