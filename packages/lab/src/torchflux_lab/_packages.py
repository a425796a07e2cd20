"""Installed packages: their versions, and their content as they list it themselves, in RECORD."""

import base64
import csv
import hashlib
import importlib.metadata as metadata
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

__all__ = ["Installed", "installed", "packages_of"]

# Written by the installer: not the package's own, and not the same everywhere.
INSTALLERS = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "RECORD")


class Installed:
    """One installed package."""

    def __init__(self, distribution: metadata.Distribution) -> None:
        self.distribution = distribution
        self.name = normalised(distribution.name)
        self.version = distribution.version

    @cached_property
    def files(self) -> dict[str, str]:
        """Its files in site-packages with the hashes that RECORD holds. Left out are commands, which name the
        environment in their first line, compiled Python, and the installer's notes."""
        rows = csv.reader((self.distribution.read_text("RECORD") or "").splitlines())
        return {row[0]: row[1] for row in rows if len(row) == 3 and row[1] and _own(row[0])}

    @property
    def sha256(self) -> str:
        """One hash of all of them, the same on every machine that has this package from the same wheel."""
        lines = [f"{name},{digest}\n" for name, digest in sorted(self.files.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def altered(self) -> Iterator[str]:
        """The files that are not as RECORD says, or not there."""
        for name, digest in self.files.items():
            path = Path(str(self.distribution.locate_file(name)))
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
    """Every package that this Python would find, by its normalised name; the first on the path counts."""
    found: dict[str, Installed] = {}
    for distribution in metadata.distributions():
        package = Installed(distribution)
        found.setdefault(package.name, package)
    return found


def packages_of(files: Iterable[Path], packages: dict[str, Installed]) -> tuple[set[str], set[Path]]:
    """The packages that files belong to, and the files that belong to none."""
    owners: dict[str, dict[str, str]] = {}
    for package in packages.values():
        folder = str(Path(str(package.distribution.locate_file(""))).resolve())
        owners.setdefault(folder, {}).update(dict.fromkeys(package.files, package.name))
    listed = {path: _owner(path, owners) for path in files}
    return {name for name in listed.values() if name}, {path for path, name in listed.items() if name is None}


def _owner(path: Path, owners: dict[str, dict[str, str]]) -> str | None:
    found = (
        names.get(path.relative_to(folder).as_posix())
        for folder, names in owners.items()
        if path.is_relative_to(folder)
    )
    return next(filter(None, found), None)


def normalised(name: str) -> str:
    """A package's name as names are compared (PEP 503).

    >>> normalised("Typing_Extensions")
    'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()
