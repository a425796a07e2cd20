"""Installed packages: their versions, and their content as they list it themselves, in RECORD."""

import base64
import csv
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path

from ._imports import is_installed

__all__ = ["Installed", "installed", "packages_of"]

# Written by the installer: not the package's own, and not the same everywhere.
INSTALLERS = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "RECORD")


class Installed:
    """One installed package: the folder NAME-VERSION.dist-info, and what it says."""

    def __init__(self, folder: Path) -> None:
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        self.name, self.version, self.site = normalised(name), version, folder.parent
        self._record = folder / "RECORD"

    @cached_property
    def files(self) -> dict[str, str]:
        """Its files in site-packages with the hashes that RECORD holds. Left out are commands, which name the
        environment in their first line, compiled Python, and the installer's notes."""
        rows = csv.reader(self._record.read_text(encoding="utf-8").splitlines() if self._record.is_file() else [])
        return {row[0]: row[1] for row in rows if len(row) == 3 and row[1] and _own(row[0])}

    @cached_property
    def sha256(self) -> str:
        """One hash of all of them, the same on every machine that has this package from the same wheel."""
        lines = [f"{name},{digest}\n" for name, digest in sorted(self.files.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def altered(self) -> Iterator[str]:
        """The files that are not as RECORD says, or not there."""
        for name, digest in self.files.items():
            path = self.site / name
            if not path.is_file() or _hash(path, digest.partition("=")[0]) != digest:
                yield name


def _own(name: str) -> bool:
    return not name.startswith(("..", "/")) and not name.endswith(".pyc") and name.rpartition("/")[2] not in INSTALLERS


def _hash(path: Path, algorithm: str) -> str:
    """A file's hash as RECORD writes it (PEP 376)."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, algorithm).digest()
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def installed() -> dict[str, Installed]:
    """Every package that this Python would find, by its normalised name; the first on the path counts.

    What another package brings along, as setuptools does when it is imported (`setuptools/_vendor`), is that one's.
    """
    places = [Path(place) for place in sys.path if place and not is_installed(place)]
    folders = [folder for place in places for folder in sorted(place.glob("*.dist-info"))]
    found = [_installed(folder, folder.stat().st_mtime_ns) for folder in reversed(folders)]
    return {package.name: package for package in found}


@cache
def _installed(folder: Path, changed: int) -> Installed:
    """As it was installed at that time: what it says is read once."""
    return Installed(folder)


def packages_of(files: Iterable[str], packages: dict[str, Installed]) -> tuple[set[str], set[str]]:
    """The packages that files belong to, and the files that belong to none."""
    owners: dict[str, dict[str, str]] = {}
    for package in packages.values():
        owners.setdefault(str(package.site.resolve()), {}).update(dict.fromkeys(package.files, package.name))
    listed = {file: _owner(file, owners) for file in files}
    return set(filter(None, listed.values())), {file for file, name in listed.items() if name is None}


def _owner(file: str, owners: dict[str, dict[str, str]]) -> str | None:
    """Which package has listed a file; `owners` has their lists by folder."""
    inside = ((names, file[len(folder) + 1 :]) for folder, names in owners.items() if file.startswith(folder + os.sep))
    return next((names[name] for names, part in inside if (name := part.replace(os.sep, "/")) in names), None)


def normalised(name: str) -> str:
    """A package's name as names are compared (PEP 503).

    >>> normalised("Typing_Extensions")
    'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()
