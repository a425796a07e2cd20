"""Which of a project's own files a script runs: those that its imports lead to, and those that a process has loaded."""

import ast
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

__all__ = ["cache_folder", "imported", "is_installed", "loaded_files"]

BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # of statements, which hold others


def imported(script: Path, ours: Callable[[Path], bool]) -> set[Path]:
    """The script and every file of the project that its imports lead to, wherever in a file they stand.

    Nothing is run, so an import that is never reached is followed too, and one whose name is computed is not.

    **Arguments:**

    - `script`: where it begins. Its folder comes first on the import path, as it does when it runs.
    - `ours`: whether a file belongs to the project.
    """
    modules = _Modules([str(script.parent), *(place for place in sys.path if place)], ours)
    found, open_ends = {script}, [(script, "")]
    while open_ends:
        file, package = open_ends.pop()
        for name in _names(file, package, file.stat().st_mtime_ns):
            for path, inside in filter(None, map(modules.find, _on_the_way(name))):
                if path not in found:
                    found.add(path)
                    open_ends.append((path, inside))
    return found


@cache
def _names(file: Path, package: str, changed: int) -> set[str]:
    """The modules that a file of a package may import, as it was last changed."""
    found = set()
    for node in _statements(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(
                [*(parts[: len(parts) - node.level + 1] if node.level else []), *filter(None, [node.module])]
            )
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}  # modules, or what one defines
    return found


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """What lies in the blocks of a module or statement. Expressions hold no imports, so they are not looked into."""
    for block in BLOCKS:
        for inner in getattr(node, block, ()):
            yield inner
            yield from _statements(inner)


def _on_the_way(name: str) -> list[str]:
    """What is imported on the way to a dotted name.

    >>> _on_the_way("a.b.c")
    ['a', 'a.b', 'a.b.c']
    """
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


class _Modules:
    """Modules by their dotted names: the project's file of each, with the package that relative imports start from."""

    def __init__(self, search: list[str], ours: Callable[[Path], bool]) -> None:
        self.search, self.ours = search, ours
        self.find = cache(self._find)

    def _find(self, name: str) -> tuple[Path, str] | None:
        package, _, last = name.rpartition(".")
        places = self._inside(package) if package else self.search
        spec = PathFinder.find_spec(name, places) if places and last else None
        if spec is None or not (spec.origin or "").endswith(".py"):
            return None
        path = Path(str(spec.origin)).resolve()
        return (path, name if path.name == "__init__.py" else package) if self.ours(path) else None

    def _inside(self, package: str) -> list[str]:
        path, _ = self.find(package) or (Path(), "")
        return [str(path.parent)] if path.name == "__init__.py" else []


def loaded_files() -> set[str]:
    """The files of all modules that this process has loaded, without the standard library's, the command's own, and
    what torchflux and PyTorch's compiler have generated and keep: that follows from the rest, and a reproduction
    generates it anew."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    real = cache(os.path.realpath)  # of thousands of files in some hundred folders
    found = {os.path.join(real(os.path.dirname(file)), os.path.basename(file)) for file in files if file}
    places = [sysconfig.get_path("stdlib"), sysconfig.get_path("scripts"), cache_folder()]
    places += filter(None, [os.environ.get("TORCHINDUCTOR_CACHE_DIR")])  # which the compiler sets when it is used
    known = tuple(f"{real(place)}{os.sep}" for place in places)
    return {file for file in found if is_installed(file) or not file.startswith(known)}


def cache_folder() -> Path:
    """Where torchflux keeps what it generates: `TORCHFLUX_CACHE`, or the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCHFLUX_CACHE") or Path(base) / "torchflux")


def is_installed(file: Path | str) -> bool:
    """Whether a file lies in a folder of installed packages."""
    return any(f"{os.sep}{name}{os.sep}" in str(file) for name in ("site-packages", "dist-packages"))
