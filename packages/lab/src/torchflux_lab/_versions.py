"""Which software runs here."""

import importlib.metadata
import platform
import sys

__all__ = ["versions"]


def versions() -> dict[str, str | None]:
    """The versions that results depend on; None for what is neither imported nor installed. Imports nothing."""
    return {"python": platform.python_version()} | {name: _version(name) for name in ("torch", "torchflux")}


def _version(name: str) -> str | None:
    imported = getattr(sys.modules.get(name), "__version__", None)
    if imported is not None:
        return str(imported)
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
