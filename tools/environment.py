"""The environment of a checkout: made from a lock file, kept while nothing that it is made from
changes, updated when the lock changes, and made anew when it was left unfinished."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import lock_file
import torch_build
import workspace

STAMP = "set-up.json"
LOCK = "set-up.lock"
LOG = "set-up.log"
TAIL_LINES = 15
# Settings of pip that would send the packages somewhere else than into the environment.
REDIRECTING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_CONSTRAINT", "PIP_REQUIREMENT")


class SetUpError(Exception):
    """The environment cannot be made; the message says why and what to do."""


class NotOffered(SetUpError):
    """pip found no file for a requirement, or none that fits."""


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
    def python(self) -> Path:
        return workspace.scripts_folder(self.venv) / ("python.exe" if os.name == "nt" else "python")

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
            install_lock(plan)
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
        objection = torch_build.read_table().objection(torch_build.running_wheel_tag())
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
    # A set-up that is started from inside a virtual environment uses the Python below it.
    interpreter = getattr(sys, "_base_executable", sys.executable)
    run(plan, [interpreter, "-m", "venv", str(plan.venv)])


def install_lock(plan: Plan) -> None:
    """Everything that the lock holds, with its hashes checked. The lock is complete, so pip has
    nothing to resolve (--no-deps), and nothing is built from source."""
    locked = lock_file.entries(plan.lock.read_text(encoding="utf-8"))
    if plan.torch == "cpu":
        install_cpu_torch(plan, [entry for entry in locked if entry.name == "torch"])
    say(f"installing the other packages of lockfiles/{plan.lock.name} ({len(locked)} are locked)")
    pip_install(plan, "--requirement", str(plan.lock))


def install_cpu_torch(plan: Plan, locked: list[lock_file.Entry]) -> None:
    """PyTorch's CPU build, from pip's own sources or else, for this package alone, from PyTorch's."""
    pin = plan.venv / "torch.txt"
    pin.write_text("".join(entry.text for entry in locked), encoding="utf-8")
    say("asking pip for PyTorch's CPU build (the largest package: 100 to 200 MB to fetch the first time)")
    try:
        pip_install(plan, "--requirement", str(pin))
    except NotOffered:
        say(f"pip's sources do not offer that build; asking PyTorch's own index, {torch_build.CPU_INDEX}")
        ask_pytorch(plan, pin)


def ask_pytorch(plan: Plan, pin: Path) -> None:
    try:
        pip_install(plan, "--index-url", torch_build.CPU_INDEX, "--requirement", str(pin))
    except NotOffered as error:
        raise SetUpError(
            f"neither pip's own sources nor {torch_build.CPU_INDEX} gave PyTorch's CPU build. Where that "
            "index is out of reach, fetch its wheel torch-*+cpu-"
            f"{torch_build.running_wheel_tag()}.whl elsewhere, put it into a folder and name the folder: "
            f"PIP_FIND_LINKS=/that/folder make test. The whole output is in {plan.venv / LOG}."
        ) from error


def install_workspace(plan: Plan) -> None:
    """The packages of this checkout, editable; they are built with what the lock has installed."""
    packages = workspace.packages(plan.root)
    if packages:
        say("installing this checkout's packages: " + ", ".join(package.name for package in packages))
        editable = [word for package in packages for word in ("--editable", str(package.folder))]
        run(plan, [*pip(plan), "install", "--no-deps", "--no-build-isolation", *editable])


def remove_strays(plan: Plan) -> None:
    """Take out what an earlier lock or checkout had and this one has not."""
    listed = json.loads(run(plan, [*pip(plan), "list", "--format=json"]).splitlines()[0])
    locked = {entry.name for entry in lock_file.entries(plan.lock.read_text(encoding="utf-8"))}
    wanted = locked | {package.name for package in workspace.packages(plan.root)} | {"pip"}
    strays = {workspace.normalised(item["name"]) for item in listed} - wanted
    if strays:
        say("removing what the lock no longer holds: " + ", ".join(sorted(strays)))
        run(plan, [*pip(plan), "uninstall", "--yes", *sorted(strays)])


def pip(plan: Plan) -> list[str]:
    return [str(plan.python), "-m", "pip", "--disable-pip-version-check", "--no-input"]


def pip_install(plan: Plan, *arguments: str) -> None:
    strict = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off"]
    run(plan, [*pip(plan), "install", *strict, *arguments])


def run(plan: Plan, command: list[str]) -> str:
    """Run a command and return what it printed to stdout; everything goes to the log as well."""
    done = subprocess.run(
        command,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        close_fds=False,  # the command holds the lock as well, see `exclusive`
    )
    with (plan.venv / LOG).open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}\n")
    if done.returncode:
        explain(plan, done.stdout + done.stderr)
    return done.stdout


def explain(plan: Plan, output: str) -> NoReturn:
    """Turn what pip said when it failed into a sentence with advice."""
    log = f"The whole output is in {plan.venv / LOG}."
    missing = re.search(r"No matching distribution found for (\S+)", output)
    if missing:
        raise NotOffered(
            f"pip finds no file for {missing[1]} that this machine can use "
            f"({torch_build.describe_interpreter()}). Is the package index within reach (`pip config list`, "
            "a proxy, the network)? If it is, this Python or platform may have no wheel of that version: "
            f"name another Python, as in PYTHON=python3.12 make test. {log}"
        )
    if "DO NOT MATCH THE HASHES" in output:
        found = re.findall(r"^\s+(\S+==\S+).* from .*$", output, flags=re.MULTILINE)
        raise SetUpError(
            f"a file that pip was given for {', '.join(found) or 'a package'} does not have the hash that "
            f"lockfiles/{plan.lock.name} holds, and was refused. Empty pip's cache (`pip cache purge`) and "
            f"run this again; if it stays, the index serves a changed file. {log}"
        )
    tail = "\n".join(output.rstrip().splitlines()[-TAIL_LINES:])
    raise SetUpError(f"a step of the set-up failed. Its last lines:\n{tail}\n{log}")


def clean_environment() -> dict[str, str]:
    """The process environment without what would lead Python or pip outside the environment."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", *REDIRECTING)}
    return kept | {"PYTHONNOUSERSITE": "1", "PYTHONIOENCODING": "utf-8"}


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
