"""What a script declares for its record, read without running it: `DATA` and `TOLERANCES`, both literals."""

import ast
from pathlib import Path
from typing import Any

from ._error import LabError

__all__ = ["DEFAULT", "data_files", "tolerances"]

#: How floats must agree when a script says nothing of them: relative, for one machine and its like.
DEFAULT = 1e-6

# What lies beside a script and is no data: code, prose, and what an editor or Python leaves.
NO_DATA = (".py", ".ipynb", ".md", ".pyc")
PICTURES = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".gif", ".html")


def data_files(script: Path) -> list[Path]:
    """The files that an experiment reads: those in its folder that are neither code, prose nor picture, and what the
    script names in `DATA`.

    `DATA = ["faces/*.png", "../shared/text.txt", "~/.cache/weights.safetensors"]` names files from the script's folder
    or from the home folder on; `*` and `**` stand for what they do in a shell.

    **Raises:** `LabError` when a name fits no file, or is absolute, which no other machine would have.
    """
    beside = (path for path in script.parent.rglob("*") if path.suffix.lower() not in NO_DATA + PICTURES)
    found = {path for path in beside if path.is_file() and not _hidden(path.relative_to(script.parent))}
    for pattern in _literal(script, "DATA", []):
        found |= _named(script, pattern)
    return sorted(found)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _named(script: Path, pattern: Any) -> set[Path]:
    if not isinstance(pattern, str) or Path(pattern).is_absolute():
        raise LabError(
            f"DATA in {script.name} holds {pattern!r}. Name files from the script's folder on, 'faces/*.png', or from "
            "the home folder on, '~/.cache/weights.safetensors': they are recorded under that name."
        )
    base, relative = (Path.home(), pattern[2:]) if pattern.startswith("~/") else (script.parent, pattern)
    found = {path.resolve() for path in base.glob(relative) if path.is_file()}
    if not found:
        raise LabError(f"DATA in {script.name} names '{pattern}', and there is no such file.")
    return found


def tolerances(script: Path) -> dict[str, Any]:
    """How results must agree with the recorded ones: by pattern, the first that fits, `"*"` last.

    `TOLERANCES = {"accuracy": (0, 0.01), "test.*": 1e-3, "*.seconds": None}` in the script: relative, or relative and
    absolute; None is for what is never the same, such as times.

    **Raises:** `LabError` when it is something else.
    """
    declared = _literal(script, "TOLERANCES", {})
    if not isinstance(declared, dict) or not all(isinstance(key, str) and _valid(declared[key]) for key in declared):
        raise LabError(
            f"TOLERANCES in {script.name} is {declared!r}. It maps names of results, with * for anything, to "
            'a relative tolerance, a pair of a relative and an absolute one, or None: {"accuracy": (0, 0.01)}.'
        )
    return {key: value for key, value in declared.items() if key != "*"} | {"*": declared.get("*", DEFAULT)}


def _valid(tolerance: Any) -> bool:
    numbers = tolerance if isinstance(tolerance, tuple) and len(tolerance) == 2 else [tolerance]
    return tolerance is None or all(type(x) in (int, float) and 0 <= x < float("inf") for x in numbers)


def _literal(script: Path, name: str, default: Any) -> Any:
    """The value that a script's top level gives a name."""
    for statement in ast.parse(script.read_bytes()).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                return ast.literal_eval(statement.value)  # type: ignore[attr-defined]
            except ValueError:
                raise LabError(
                    f"{name} in {script.name} is computed. It is read without running the script: write it out."
                ) from None
    return default
