"""An experiment: a script, read without running it, or loaded to run."""

import ast
import dataclasses
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ._error import LabError, ScriptError

__all__ = ["Experiment", "Program"]

SIGNATURE = "def main(parameters: Parameters, out: Path) -> dict"


@dataclass(frozen=True)
class Program:
    """A loaded experiment: its dataclass of parameters and its function."""

    experiment: "Experiment"
    parameters: type[Any]
    main: Callable[[Any, Path], dict[str, Any]]


@dataclass(frozen=True)
class Experiment:
    """An experiment by its name and its script."""

    name: str
    script: Path

    @property
    def summary(self) -> str:
        """The first line of the script's docstring. The script is parsed, not run."""
        try:
            with warnings.catch_warnings(action="ignore"):  # a script's doubtful escapes are its own affair
                tree = ast.parse(self.script.read_bytes(), self.script.name)
        except (SyntaxError, ValueError, OSError) as error:
            return f"(cannot be read: {error})"
        return (ast.get_docstring(tree) or "(no docstring)").splitlines()[0]

    @contextmanager
    def loaded(self) -> Iterator[Program]:
        """Run the script's top level, as an import would, and give what it declares.

        Inside, the script's folder is on the import path, as it is for `python NAME.py`, and the module is
        known by the experiment's name, so worker processes can import what it defines. Afterwards it is forgotten
        with the modules beside it: the next experiment's `picture` is its own.

        **Raises:** `ScriptError` when the script does; `LabError` when it lacks what an experiment declares.
        """
        module, known = self._module(), set(sys.modules)
        sys.modules[self.name] = module
        sys.path.insert(0, str(self.script.parent))
        try:
            self._execute(module)
            yield Program(self, _parameters_class(self, module), _main(self, module))
        finally:
            with suppress(ValueError):  # the script may have changed the path itself
                sys.path.remove(str(self.script.parent))
            sys.modules.pop(self.name, None)
            for name in set(sys.modules) - known:
                if self._beside(sys.modules[name]):
                    del sys.modules[name]

    def _beside(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        return isinstance(file, str) and Path(file).is_relative_to(self.script.parent)

    def _module(self) -> ModuleType:
        if self.name in sys.modules:
            raise LabError(f"An experiment cannot be called '{self.name}': a module of that name is in use. Rename it.")
        spec = importlib.util.spec_from_file_location(self.name, self.script)
        assert spec is not None  # it is None for names that do not end in .py, and ours do
        return importlib.util.module_from_spec(spec)

    def _execute(self, module: ModuleType) -> None:
        # Not the module's own loader, which would leave a __pycache__ beside the script.
        try:
            exec(compile(self.script.read_bytes(), str(self.script), "exec", dont_inherit=True), vars(module))
        except (Exception, SystemExit) as error:
            raise ScriptError(self.script, error) from error


def _parameters_class(experiment: Experiment, module: ModuleType) -> type[Any]:
    found = vars(module).get("Parameters")
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        what = "no class Parameters" if found is None else "a Parameters that is not a dataclass"
        raise LabError(
            f"{experiment.script.name} has {what}. An experiment declares what can be set, for example\n\n"
            "    @dataclass\n    class Parameters:\n        seed: int = 0\n        steps: int = 1000"
        )
    return found


def _main(experiment: Experiment, module: ModuleType) -> Callable[[Any, Path], dict[str, Any]]:
    found = vars(module).get("main")
    if not callable(found):
        raise LabError(f"{experiment.script.name} has no function main. An experiment has\n\n    {SIGNATURE}")
    try:
        inspect.signature(found).bind(None, None)
    except TypeError:
        given = f"main{inspect.signature(found)}"
        raise LabError(f"{experiment.script.name} has {given}; the lab calls\n\n    {SIGNATURE}") from None
    return found
