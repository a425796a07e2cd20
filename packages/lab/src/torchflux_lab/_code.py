"""Which code runs: the files of an experiment by their hashes, and the repository's commit."""

import hashlib
from pathlib import Path
from typing import Any

from ._git import git

__all__ = ["code_of", "commit_of"]


def code_of(script: Path) -> dict[str, str]:
    """The SHA-256 of a script and of every Python file in its folder, by name."""
    files = sorted(script.parent.rglob("*.py"))
    return {
        str(file.relative_to(script.parent).as_posix()): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def commit_of(script: Path) -> dict[str, Any] | None:
    """The commit of the repository that a script lies in, and whether its files are other than committed.

    Files that git does not know count where they lie beside the script. None without a repository, or without git.
    """
    commit = _said(script, "rev-parse", "HEAD")
    if commit is None:
        return None
    known, beside = ("status", "--porcelain", "--untracked-files=no"), ("status", "--porcelain", "--", ".")
    return {"commit": commit, "dirty": bool(_said(script, *known) or _said(script, *beside))}


def _said(script: Path, *arguments: str) -> str | None:
    """What git prints of the script's folder."""
    printed = git(script.parent, *arguments, timeout=20)
    return None if printed is None else printed.decode(errors="replace").strip()
