"""The folder of a sweep: which runs belong to it, how far each is, and what they came to."""

import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._code import code_of
from ._error import LabError
from ._experiment import Experiment
from ._folder import RUN, RUNS, run_folder
from ._grid import Point
from ._results import plain, write_json, write_whole
from ._runs import Run
from ._statistics import Row, best_of, numbers, rows
from ._take_up import run_state
from ._versions import versions

__all__ = ["SWEEP", "Sweep"]

#: What makes a folder a sweep's.
SWEEP = "sweep.json"


@dataclass(frozen=True)
class Sweep:
    """A sweep by its folder: its experiment, its points, the folder of each one's run, the threads of each."""

    folder: Path
    name: str
    points: tuple[Point, ...]
    threads: int

    @classmethod
    def begun(cls, name: str, points: list[Point], threads: int, out: Path | None) -> "Sweep":
        """A new one, in `runs/NAME-sweep-TIME` or a folder that is new or empty."""
        sweep = cls(run_folder(f"{name}-sweep", out), name, tuple(points), threads)
        about = [{"folder": sweep.run(point).name, "settings": point.settings, "seed": point.seed} for point in points]
        write_json(sweep.folder / SWEEP, plain({"name": name, "threads": threads, "runs": about}))
        return sweep

    @classmethod
    def read(cls, folder: Path) -> "Sweep":
        """The one that is there.

        **Raises:** `LabError` when there is none.
        """
        try:
            about = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
            points = tuple(Point(tuple(run["settings"]), run["seed"]) for run in about["runs"])
            return cls(folder.resolve(), about["name"], points, about["threads"])
        except OSError as error:
            raise LabError(f"{folder} is no sweep's folder: {SWEEP}: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(f"{folder / SWEEP} cannot be read: {error}.") from error

    @classmethod
    def last(cls, name: str) -> "Sweep":
        """The last one of an experiment in `runs`."""
        known = [cls.read(file.parent) for file in Path(RUNS).glob(f"*/{SWEEP}")]
        mine = [sweep for sweep in known if sweep.name == name]
        if not mine:
            raise LabError(f"There is no sweep of '{name}' in {Path(RUNS).resolve()}. Name its folder: --out DIR.")
        return max(mine, key=lambda sweep: (sweep.folder / SWEEP).stat().st_mtime)

    def run(self, point: Point) -> Path:
        """The folder of a point's run: its number, and what is set as far as a file's name can say it."""
        text = re.sub(r"[^\w.=+-]+", "_", "-".join(point.all))
        return self.folder / f"{self.points.index(point) + 1:03}-{text[:60]}"

    def left(self) -> list[Point]:
        """The points whose runs are not done."""
        return [point for point in self.points if run_state(self.run(point)) != "done"]

    def refuse_changes(self, experiment: Experiment) -> None:
        """Raise `LabError` when runs that are there were made by other code, or other versions, than is here."""
        now = {"code": code_of(experiment.script), "versions": versions()}
        for point in self.points:
            if (self.run(point) / RUN).is_file():
                about = Run.read(self.run(point)).about
                if changed := [key for key, fact in now.items() if about.get(key) != fact]:
                    raise LabError(
                        f"The {' and '.join(changed)} changed since {self.run(point).name} was run: one table would "
                        "hold results of both. Put it back, or begin a new sweep."
                    )

    def results(self) -> dict[Point, dict[str, float]]:
        """The single numbers that each run that is done came to."""
        done = [point for point in self.points if run_state(self.run(point)) == "done"]
        records = {point: Run.read(self.run(point)).results for point in done}
        return {point: numbers(record["results"]) for point, record in records.items() if record}

    def table(self) -> list[Row]:
        """A row for each combination of values."""
        return rows(self.points, self.results())

    def save(self, result: str | None, largest: bool) -> None:
        """Write results.json, with the table and every run, and results.csv, with a line for each run."""
        results, table = self.results(), self.table()
        best = best_of(table, result, largest) if result else None
        marked = {"result": result, "wanted": "largest" if largest else "smallest", "row": best} if result else None
        runs = [self._about(point, results.get(point, {})) for point in self.points]
        write_json(
            self.folder / "results.json", plain({"name": self.name, "rows": table, "best": marked, "runs": runs})
        )
        columns = list(dict.fromkeys(key for run in runs for key in run))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(runs)
        write_whole(self.folder / "results.csv", text.getvalue())

    def _about(self, point: Point, results: dict[str, float]) -> dict[str, Any]:
        values = dict(setting.split("=", 1) for setting in point.all)
        return {"folder": self.run(point).name, "state": run_state(self.run(point)), **values} | {
            f"results.{name}": x for name, x in results.items()
        }
