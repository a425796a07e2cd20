"""Going on with a run that was cut short: which one it is, and what has to be as it was."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ._error import LabError
from ._experiment import Program
from ._folder import RUN
from ._parameters import parameters_from, parameters_with
from ._results import plain
from ._run import surroundings
from ._runs import Run, runs

__all__ = ["changes", "refuse_changes", "resumable", "resumed_parameters"]


def resumable(name: str, out: Path | None = None) -> Run:
    """The run of an experiment that is to go on: that of a folder, or the last one in `runs` that is not done.

    **Raises:** `LabError` when there is none, or it is another experiment's, or still running.
    """
    run = Run.read(out) if out else _last(name)
    if run.name != name:
        raise LabError(f"{run.folder} holds a run of '{run.name}', not of '{name}'.")
    if run.state == "running":
        raise LabError(f"The run in {run.folder} is still running: there is nothing to resume.")
    return run


def _last(name: str) -> Run:
    known = [run for run in runs() if run.name == name]
    if not known:
        raise LabError(
            f"There is no run of '{name}' to resume in {Path('runs').resolve()}. Name its folder: --out DIR."
        )
    return next((run for run in known if run.state not in ("done", "running")), known[0])


def resumed_parameters(program: Program, run: Run, settings: Iterable[str] = ()) -> Any:
    """The parameters with which a run goes on: its own.

    **Arguments:**

    - `settings`: texts `key=value`; they may repeat what the run began with, and say nothing else.

    **Raises:** `LabError`, which says what differs.
    """
    settings = list(settings)
    given = plain(dataclasses.asdict(parameters_with(program.parameters, settings)), "parameters")
    own, keys = run.about["parameters"], [setting.partition("=")[0].strip() for setting in settings]
    wrong = [
        f"    {key}: {own.get(key)!r} in the run, {given[key]!r} now" for key in keys if given[key] != own.get(key)
    ]
    if wrong:
        listed = "\n".join(wrong)
        raise LabError(
            f"A run goes on with the parameters it began with:\n\n{listed}\n\nBegin a new run to change them."
        )
    return parameters_from(program.parameters, own)


def refuse_changes(changed: list[str]) -> None:
    """Raise `LabError` if anything is listed."""
    if changed:
        listed = "\n".join(f"    {change}" for change in changed)
        raise LabError(
            f"Not all is as it was when the run began:\n\n{listed}\n\nIts numbers might not be those of one run "
            f"without a break. Put it back; or go on all the same, and {RUN} will say so: --anyway."
        )


def changes(program: Program, run: Run) -> list[str]:
    """What a run's numbers depend on that is not as it was when the run began, a line each."""
    now = surroundings(program.experiment.script)
    return [line for key, fact in now.items() for line in differences(key, run.about.get(key), fact)]


def differences(key: str, then: Any, now: Any) -> list[str]:
    """The lines for one of the surroundings. What is None was not known; of a hash one reads that it is another.

    >>> differences("threads", 2, 1)
    ['threads: 2 then, 1 now']
    >>> differences("code", {"dan.py": "ab", "old.py": "cd"}, {"dan.py": "ef"})
    ['code: dan.py has changed', 'code: old.py is gone']
    >>> differences("versions", {"torch": "2.13"}, {"torch": "2.14"})
    ['versions: torch: 2.13 then, 2.14 now']
    """
    if then is None or now is None or then == now:
        return []
    if not isinstance(now, dict):
        return [f"{key}: {then} then, {now} now"]
    if key != "code":
        return [line for name in now for line in differences(f"{key}: {name}", then.get(name), now[name])]
    names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    fate = {name: "is new" if name not in then else "is gone" if name not in now else "has changed" for name in names}
    return [f"{key}: {name} {what}" for name, what in fate.items()]
