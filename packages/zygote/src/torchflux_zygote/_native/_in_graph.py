"""Tells PyTorch's compiler to take native calls as they are, without importing it: that takes a second."""

import importlib.util
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from typing import Any

import torch

__all__ = ["in_graph"]

COMPILER = "torch._dynamo"
_waiting: list[Callable[..., Any]] = []


def in_graph(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, which `torch.compile` will call and not look into."""
    if COMPILER in sys.modules:
        return torch.compiler.allow_in_graph(f)
    if not _waiting:
        sys.meta_path.insert(0, _WhenImported())
    _waiting.append(f)
    return f


class _WhenImported(MetaPathFinder):
    """Waits for the compiler's import."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """The compiler's own specification, with a loader that tells it afterwards."""
        if name != COMPILER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader)
        return spec


class _Then(Loader):
    """Runs a module, and then tells it about the functions that wait."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: Any) -> Any:
        """The module, as the loader makes it."""
        return self.loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Runs the module, then hands it the functions that wait."""
        self.loader.exec_module(module)
        for f in _waiting:
            torch.compiler.allow_in_graph(f)
        _waiting.clear()
