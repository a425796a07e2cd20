"""What git knows of a project. Without git, or outside a repository, it knows nothing, and that is no error."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

__all__ = ["changes", "commit_of", "git", "holds", "unpack"]

# Set by git around hooks, where they would lead to another repository than the folder's own.
LEADING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")


def commit_of(root: Path) -> str | None:
    """The commit that is checked out."""
    found = git(root, "rev-parse", "--verify", "HEAD")
    return found.decode().strip() if found else None


def changes(root: Path) -> list[str]:
    """What lies below a folder and is not as the commit has it: changed, new, or gone. Ignored files don't count."""
    listed = git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", ".") or b""
    prefix = (git(root, "rev-parse", "--show-prefix") or b"").decode().strip()
    return sorted(entry[3:].removeprefix(prefix) for entry in listed.decode(errors="replace").split("\0") if entry)


def holds(root: Path, commit: str) -> bool:
    """Whether a commit is in this repository, which may be a shallow clone."""
    return git(root, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def unpack(root: Path, commit: str, folder: Path) -> None:
    """Write a project as a commit has it into a folder, byte for byte."""
    archive = git(root, "-c", "core.autocrlf=false", "archive", "--format=tar", commit)
    if archive is None:
        raise OSError(f"git cannot read the commit {commit}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def git(root: Path, *arguments: str, timeout: float | None = None) -> bytes | None:
    """What git prints, or None when it fails, takes longer than `timeout` seconds, or is not there."""
    environment = {key: value for key, value in os.environ.items() if key not in LEADING}
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
