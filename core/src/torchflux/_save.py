"""Checkpoints: one safetensors file, written whole or not at all; no pickle is read or written."""

import dataclasses
import json
import os
import random
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ._model import check_fit, loadmodel, named_tensors
from ._optimise import Rule
from ._walk import Function, PathDict, children, leaves, rebuild

__all__ = ["load", "save"]

FORMAT = "torchflux checkpoint 2"


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
        TypeError: a tree holds something that is none of these, or is called rng; nothing is written.

    >>> import os, tempfile
    >>> from torchflux import Adam, Dense, setup
    >>> model = Dense(2, 2)
    >>> path = os.path.join(tempfile.mkdtemp(), "checkpoint.safetensors")
    >>> save(path, model=model, opt=setup(Adam(), model), step=7, losses=[0.5, 0.25])
    >>> kept = load(path, model=model, opt=setup(Adam(), model), rng=True)
    >>> kept["step"], kept["losses"]
    (7, [0.5, 0.25])
    """
    if "rng" in trees:
        raise TypeError("rng is the name of the state of the random generators; choose another")
    kept: dict[int, tuple[str, Tensor]] = {}
    rng = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all(), "python": random.getstate()}
    forms = {name: _form(x, name, kept) for name, x in {"step": step, **trees, "rng": rng}.items()}
    arrays = {name: x.detach().cpu().contiguous().clone() for name, x in kept.values()}
    _write(Path(path), safetensors.torch.save(arrays, {FORMAT: json.dumps(forms)}))


def load(path: str | os.PathLike[str], *, rng: bool = False, **into: Any) -> dict[str, Any]:
    """Reads what `save` wrote: each tree into the object given under its name, in place.

    Arguments:
        rng: whether to set the global random generators to what they were.
        into: models, optimiser states, generators and trees of tensors to load into (generators and `torch.optim`
            optimisers under a name of their own; saved inside of a tree, they come back as tensors and dicts).

    Returns:
        The step and every tree that isn't loaded into anything; of a model its `state`.

    Raises:
        ValueError: the file is cut short, is not one of ours, or doesn't fit what it is loaded into. Nothing has
            been changed then.
        FileNotFoundError: there is no such file.
    """
    kept = _read(Path(path))
    puts = []
    for name, target in into.items():
        if name not in kept:
            raise ValueError(f"{path} holds no {name!r}; it holds {', '.join(kept)}")
        try:
            puts.append(_fitted(target, kept[name]))
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(f"{name!r} in {path} doesn't fit what it is loaded into: {error}") from error
    for put in puts:
        put()
    if rng:
        torch.set_rng_state(kept["rng"].cpu)
        random.setstate(kept["rng"].python)
        torch.cuda.set_rng_state_all(kept["rng"].cuda[: torch.cuda.device_count()])
    return {name: value for name, value in kept.items() if name not in {"rng", *into}}


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.urandom(16).hex()}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    content = path.read_bytes()  # at once: the file may be replaced meanwhile
    try:
        arrays = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return {**json.loads(header["__metadata__"][FORMAT], object_hook=partial(_node, arrays))}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or is cut short ({error})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "loadmodel takes the weights of any other file"
        raise ValueError(f"{path} was not written by torchflux.save as a {FORMAT} ({error}); {hint}") from error


# The form of a tree is written as JSON, with its tensors by name: an object of one entry, the kind of a node and its
# content. A dataclass (the optimiser's leaves and rules) is written by its fields; it comes back as a dict, and is
# loaded into one of its kind.


def _form(x: Any, path: str, kept: dict[int, tuple[str, Tensor]]) -> Any:
    """What stands for `x` in the JSON; its tensors go into `kept`, by id and with a name, tied ones once."""
    x = _content(x)
    if isinstance(x, bool | int | float | str | None):
        return x
    if isinstance(x, Tensor):
        return {"tensor": kept.setdefault(id(x), (f"{path} {len(kept)}", x))[0]}
    if not (isinstance(x, tuple | list | dict) or dataclasses.is_dataclass(x)):
        raise TypeError(f"can't save {path}: a {type(x).__name__} is no tensor, number, string, module or nesting")
    forms = {key: _form(part, f"{path}/{key}", kept) for key, part in children(x).items()}
    if isinstance(x, tuple | list):
        return {"tuple" if isinstance(x, tuple) else "list": list(forms.values())}
    return {"dict": list(forms.items())}


def _content(x: Any) -> Any:
    """What is written of a model, an optimiser or a generator."""
    if isinstance(x, torch.Generator):
        return x.get_state()
    if isinstance(x, torch.optim.Optimizer):
        return x.state_dict()
    return named_tensors(x) if isinstance(x, nn.Module) else x


def _node(arrays: dict[str, Tensor], form: dict[str, Any]) -> Any:
    """The node that a form stands for; an object of several entries is none, but stands around the forms."""
    (kind, content), *more = form.items()
    kinds: dict[str, Any] = {"tensor": arrays.__getitem__, "dict": PathDict, "tuple": tuple, "list": list}
    return form if more else kinds[kind](content)


def _fitted(target: Any, value: Any) -> Function:
    """What puts a saved value into `target`, if it fits."""
    if isinstance(target, torch.Generator):
        torch.Generator(target.device).set_state(value)
        return partial(target.set_state, value)
    if isinstance(target, torch.optim.Optimizer):
        mine, saved = ([len(group["params"]) for group in x["param_groups"]] for x in (target.state_dict(), value))
        if mine != saved:
            raise ValueError(f"its groups have {mine} parameters, the saved ones {saved}")
        return partial(target.load_state_dict, value)
    check_fit(target, value)
    paths, stored = ([path for path, x in leaves(tree) if not dataclasses.is_dataclass(x)] for tree in (target, value))
    if len(paths) > len(set(paths)) or set(paths) != set(stored):
        raise ValueError(f"its parts differ in {sorted(set(paths) ^ set(stored))}, or two have the same path")
    new = _filled(target, value, {})

    def put() -> None:
        loadmodel(target, value)
        if isinstance(target, dict):
            target.update(new)
        elif isinstance(target, list):
            target[:] = new

    return put


def _filled(old: Any, value: Any, rules: dict[str, Any]) -> Any:
    """`old` with the saved numbers and strings; equal rules are shared, as `update` wants."""
    if isinstance(old, Tensor | nn.Module):
        return old  # its numbers are copied
    parts = children(old)
    if not parts and not dataclasses.is_dataclass(old):
        return value
    new = rebuild(old, {key: _filled(part, value[key], rules) for key, part in parts.items()})
    return rules.setdefault(repr(new), new) if isinstance(new, Rule) else new
