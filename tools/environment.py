"""The environment of a checkout: made from a lock file, kept while nothing that it is made from
changes, updated when the lock changes, and made anew when it was left unfinished."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch_build
import workspace
from torchflux_lab._environment import Environment, SetUpError, running_wheel_tag
from torchflux_lab._lockfile import entries
from torchflux_lab._packages import normalised

STAMP = "set-up.json"
LOCK = "set-up.lock"


@dataclass(frozen=True)
class Plan:
    """What to make: the environment `venv` for the checkout `root` with the `torch` build."""

    root: Path
    venv: Path
    torch: str = "cpu"

    @property
    def lock(self) -> Path:
        return self.root / "lockfiles" / f"{self.torch}.txt"

    @property
    def environment(self) -> Environment:
        return Environment(self.venv, self.lock, say)

    def stamp(self) -> dict[str, str]:
        """What the environment is made from. The parts say what has to be done again: another
        interpreter means a new environment; another lock, new packages; other declarations of the
        workspace packages, installing those again."""
        base = [sys.implementation.name, sys.version, sys.platform, platform.machine(), sys.base_prefix]
        declarations = [(p.folder.relative_to(self.root), p.declared) for p in workspace.packages(self.root)]
        return {
            "interpreter": _digest(*base, str(self.venv), str(self.root), self.torch),
            "lock": _digest(self.lock.read_text(encoding="utf-8")),
            "packages": _digest(*map(repr, declarations)),
        }


def make(plan: Plan) -> None:
    """Make the environment, or bring it up to date; do nothing if it is."""
    check(plan)
    with exclusive(plan.venv):
        found, wanted = read_stamp(plan.venv), plan.stamp()
        if found == wanted:
            return
        started = time.monotonic()
        if found.get("interpreter") != wanted["interpreter"]:
            create(plan)
        write_stamp(plan.venv, {})  # unfinished: if this run is interrupted, the next one starts over
        if (found.get("interpreter"), found.get("lock")) != (wanted["interpreter"], wanted["lock"]):
            plan.environment.install_lock()
        install_workspace(plan)
        remove_strays(plan)
        write_stamp(plan.venv, wanted)
        say(f"{_shown(plan.venv, plan)} is ready ({time.monotonic() - started:.0f} s)")


def check(plan: Plan) -> None:
    """Refuse what cannot work before anything is touched."""
    if not plan.lock.is_file():
        choices = ", ".join(sorted(path.stem for path in plan.lock.parent.glob("*.txt")))
        raise SetUpError(f"TORCH={plan.torch} names no lock file; expected one of: {choices}.")
    if plan.venv.is_dir() and not (plan.venv / STAMP).exists() and set(os.listdir(plan.venv)) - {LOCK}:
        raise SetUpError(
            f"{plan.venv} was not made by this set-up, which therefore leaves it alone. "
            "Move or delete that folder (`make clean` does), then run this again."
        )
    if plan.torch == "cpu":
        objection = torch_build.read_table().objection(running_wheel_tag())
        if objection:
            raise SetUpError(objection)


def create(plan: Plan) -> None:
    """An empty virtual environment, in place of whatever an earlier set-up left."""
    version = platform.python_version()
    say(f"making {_shown(plan.venv, plan)} with Python {version} for lockfiles/{plan.lock.name}")
    write_stamp(plan.venv, {})
    for entry in plan.venv.iterdir():
        if entry.name not in (STAMP, LOCK):
            _delete(entry)
    plan.environment.create()


def install_workspace(plan: Plan) -> None:
    """The packages of this checkout, editable; they are built with what the lock has installed."""
    packages = workspace.packages(plan.root)
    if packages:
        say("installing this checkout's packages: " + ", ".join(package.name for package in packages))
        plan.environment.install_editable(package.folder for package in packages)


def remove_strays(plan: Plan) -> None:
    """Take out what an earlier lock or checkout had and this one has not."""
    listed = json.loads(plan.environment.pip("list", "--format=json").splitlines()[0])
    locked = {entry.name for entry in entries(plan.lock.read_text(encoding="utf-8"))}
    wanted = locked | {package.name for package in workspace.packages(plan.root)} | {"pip"}
    strays = {normalised(item["name"]) for item in listed} - wanted
    if strays:
        say("removing what the lock no longer holds: " + ", ".join(sorted(strays)))
        plan.environment.pip("uninstall", "--yes", *sorted(strays))


def read_stamp(venv: Path) -> dict[str, str]:
    """The stamp of the last set-up that finished, or nothing."""
    try:
        return dict(json.loads((venv / STAMP).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def write_stamp(venv: Path, stamp: dict[str, str]) -> None:
    part = venv / f"{STAMP}.part"
    part.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    part.replace(venv / STAMP)  # in one step: a stamp is there whole or not at all


@contextlib.contextmanager
def exclusive(venv: Path) -> Iterator[None]:
    """Let one set-up at a time work on an environment. The system frees the lock when the set-up has
    died, and so have the commands that it started: they inherit the open file."""
    venv.mkdir(parents=True, exist_ok=True)
    with (venv / LOCK).open("a+") as file:
        os.set_inheritable(file.fileno(), True)
        if not _try_lock(file):
            say("another set-up is at work in this checkout; waiting for it")
            while not _try_lock(file):
                time.sleep(0.2)
        yield


def _try_lock(file: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _delete(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _shown(path: Path, plan: Plan) -> str:
    return str(path.relative_to(plan.root) if path.is_relative_to(plan.root) else path)


def say(line: str) -> None:
    print(f"set-up: {line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the environment of this checkout from a lock file.")
    parser.add_argument("--venv", type=Path, default=workspace.ROOT / ".venv", help="the folder to make")
    venv = parser.parse_args().venv.absolute()
    try:
        make(Plan(workspace.ROOT, venv, os.environ.get("TORCH") or "cpu"))
    except SetUpError as error:
        sys.exit(f"set-up: {error}")
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; the next run starts over")
