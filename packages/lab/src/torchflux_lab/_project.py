"""A project: the folder with `experiments/` and `lockfiles/`, and what in it is the project's own."""

import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ._files import name_in
from ._imports import is_installed

__all__ = ["Project"]

LAB = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Project:
    """A project by its folder, with the links in the path followed."""

    root: Path

    @classmethod
    def of(cls, script: Path) -> "Project":
        """The project of an experiment: `experiments/NAME/NAME.py` lies in it."""
        return cls(script.resolve().parents[2])

    def owns(self, path: Path) -> bool:
        """Whether a file is the project's own: below its folder, and in no environment there."""
        if not path.is_relative_to(self.root) or is_installed(path):
            return False
        environment = Path(sys.prefix).resolve()
        return not (environment.is_relative_to(self.root) and path.is_relative_to(environment))

    @property
    def locks(self) -> list[str]:
        """The names of its lock files."""
        return sorted(name_in(self.root, path) for path in self.root.glob("lockfiles/*.txt"))

    def packages(self, files: Iterable[Path]) -> list[str]:
        """The folders of the project's own packages that files lie in: those a pyproject.toml makes a package."""
        folders = {folder for file in files if self.owns(file) and (folder := self._package(file))}
        return sorted(name_in(self.root, folder) for folder in folders)

    def _package(self, file: Path) -> Path | None:
        above = [folder for folder in file.parents if folder.is_relative_to(self.root)]
        return next((folder for folder in above if _is_package(folder / "pyproject.toml")), None)


def _is_package(declaration: Path) -> bool:
    return declaration.is_file() and "build-system" in tomllib.loads(declaration.read_text(encoding="utf-8"))


def of_the_lab(file: str) -> bool:
    """Whether a file is this package's own, as it lies in a source tree: it runs experiments and is no part of them."""
    return file.startswith(str(LAB)) and not is_installed(file)
