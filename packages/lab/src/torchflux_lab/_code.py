"""Which code runs: the files of an experiment by their hashes, and the repository's commit."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

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
    commit = _git(script, "rev-parse", "HEAD")
    if commit is None:
        return None
    known, beside = ("status", "--porcelain", "--untracked-files=no"), ("status", "--porcelain", "--", ".")
    return {"commit": commit, "dirty": bool(_git(script, *known) or _git(script, *beside))}


def _git(script: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
