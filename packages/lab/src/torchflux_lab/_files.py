"""Files by their content: SHA-256, and the names under which a project's files are recorded."""

import hashlib
from pathlib import Path

__all__ = ["digests", "name_in", "path_of", "sha256"]


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name_in(root: Path, path: Path) -> str:
    """How a file is recorded: from the project's folder on, with slashes, or from the home folder on.

    >>> name_in(Path("/project"), Path("/project/experiments/line/line.py"))
    'experiments/line/line.py'
    """
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return "~/" + path.relative_to(Path.home()).as_posix()


def path_of(root: Path, name: str) -> Path:
    """Where a recorded file lies here."""
    return Path(name).expanduser() if name.startswith("~/") else root / name


def digests(root: Path, names: list[str]) -> dict[str, str]:
    """The SHA-256 of recorded files as they lie here; what is not here is left out."""
    found = {name: path_of(root, name) for name in sorted(names)}
    return {name: sha256(path) for name, path in found.items() if path.is_file()}
