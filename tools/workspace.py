"""The workspace: which packages this repository holds and what they declare."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torchflux_lab._packages import normalised

ROOT = Path(__file__).resolve().parent.parent
PLACES = ("core", "metalhead", "packages/*", "integrations/*")


@dataclass(frozen=True)
class Package:
    """One workspace package: a folder whose pyproject.toml has a [project] table."""

    folder: Path

    @cached_property
    def declared(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        return normalised(self.declared["project"]["name"])

    @property
    def import_name(self) -> str:
        return self.name.replace("-", "_")

    @property
    def dependencies(self) -> list[str]:
        return list(self.declared["project"].get("dependencies", []))

    @property
    def build_requirements(self) -> list[str]:
        return list(self.declared["build-system"]["requires"])


def packages(root: Path = ROOT) -> list[Package]:
    """Every workspace package, in the order of its folders."""
    folders = [folder for place in PLACES for folder in sorted(root.glob(place))]
    found = [Package(folder) for folder in folders if (folder / "pyproject.toml").is_file()]
    return [package for package in found if "project" in package.declared]


def groups(root: Path = ROOT) -> dict[str, list[str]]:
    """The dependency groups of the root pyproject.toml."""
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return dict(declared.get("dependency-groups", {}))


def scripts_folder(venv: Path) -> Path:
    """Where a virtual environment keeps its commands."""
    return venv / ("Scripts" if os.name == "nt" else "bin")
