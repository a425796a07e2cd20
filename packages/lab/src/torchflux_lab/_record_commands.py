"""The commands that record runs and hold records against machines, commits, and each other."""

from pathlib import Path
from typing import Annotated

import typer

from . import _report as report
from . import _screen as screen
from ._agreement import DIFFERENT, WITHIN
from ._error import LabError
from ._find import experiments_folder
from ._git import commit_of
from ._project import Project
from ._runs import find_run

commands = typer.Typer()
DIFFERS = 1  # the exit code

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or an experiment for its last run.")]
Recorded = Annotated[str, typer.Argument(metavar="RECORD", help="A record, lockfiles/NAME.toml, or its NAME.")]
Folder = Annotated[
    Path | None, typer.Option("--experiments", metavar="DIR", help="The experiments folder, as in `torchflux run`.")
]


def project_here(experiments_dir: Path | None) -> Project:
    """The project whose experiments folder is this one."""
    return Project(experiments_folder(experiments_dir).resolve().parent)


def record_file(name: str, experiments_dir: Path | None) -> tuple[Path, Project]:
    """A record by its path or its experiment's name, and its project."""
    path = Path(name)
    if path.suffix == ".toml":
        inside = path.resolve().parent.name == "lockfiles"
        return path, Project(path.resolve().parents[1]) if inside else project_here(experiments_dir)
    project = project_here(experiments_dir)
    return project.root / "lockfiles" / f"{name}.toml", project


@commands.command()
def record(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="By default lockfiles/EXPERIMENT.toml.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over a record that is there.")] = False,
    dirty: Annotated[
        bool, typer.Option("--dirty", help="Also when the code was in no commit; the record says so.")
    ] = False,
    experiments_dir: Folder = None,
) -> None:
    """Record a run: what it was made of and what came out, as a file to keep with the code."""
    from ._recording import record_of

    project = project_here(experiments_dir)
    made = record_of(find_run(run).folder, project, dirty)
    path = out or project.root / "lockfiles" / f"{made.experiment}.toml"
    if path.exists() and not replace:
        raise LabError(f"{screen.near(path)} is there already. --replace writes over it; --out FILE names another.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made.text(), encoding="utf-8", newline="\n")
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror}.") from error
    sizes = {"file": len(made.code), "data file": len(made.data), "package": len(made.packages)}
    what = ", ".join(report.counted(n, name) for name, n in (sizes | {"result": len(made.results)}).items())
    report.said(f"recorded {what}\n  {screen.near(path)}", good=True)


@commands.command()
def verify(
    record: Recorded,
    deep: Annotated[bool, typer.Option("--deep", help="Read every installed file. Takes some seconds.")] = False,
    commit: Annotated[bool, typer.Option("--commit", help="Hold it against its commit, not this machine.")] = False,
    experiments_dir: Folder = None,
) -> None:
    """Say what differs between a record and this machine. Runs nothing."""
    from ._record import read_record
    from ._verify import at_commit, on_this_machine

    path, project = record_file(record, experiments_dir)
    read = read_record(path)
    found = at_commit(read, project) if commit else on_this_machine(read, project, deep)
    report.differing(found, "recorded", "at the commit" if commit else "here")
    matter = sum(each.matters for each in found)
    where = "commit" if commit else "machine"
    if matter:
        report.said(
            f"{path.name}: {report.counted(matter, 'difference')}{_now_at(read.run['commit'], project)}", good=False
        )
        raise typer.Exit(DIFFERS)
    others = "" if not found else ", on another machine" if not commit else ""
    report.said(f"{path.name}: this {where} has what was recorded{others}", good=True)


def _now_at(commit: str | None, project: Project) -> str:
    now = commit_of(project.root)
    return f" (recorded at commit {(commit or 'none')[:12]}, here is {(now or 'none')[:12]})" if now != commit else ""


@commands.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run's folder or a record.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
) -> None:
    """Compare two runs or records: parameters, code, packages, machine, results."""
    from ._compare import compared, read

    left, right = read(a), read(b)
    found, results = compared(left, right)
    report.differing(found, str(a), str(b))
    report.agreeing(results, str(a), str(b), quiet=True)
    if found or any(each.verdict in (WITHIN, DIFFERENT) for each in results):
        raise typer.Exit(DIFFERS)
    report.said("no difference", good=True)


@commands.command()
def reproduce(
    record: Recorded,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="DIR", help="A new or empty folder for the code, environment and run."),
    ] = None,
    experiments_dir: Folder = None,
) -> None:
    """Run a recorded experiment again: its code, in a fresh environment from its lock; compare every result."""
    import tempfile

    from ._record import read_record
    from ._reproduce import reproduce as run_again

    path, project = record_file(record, experiments_dir)
    read = read_record(path)
    if keep and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise LabError(f"--keep {keep} is there already. Name a folder that is new or empty.")
    with tempfile.TemporaryDirectory(prefix="torchflux-", ignore_cleanup_errors=True) as temporary:
        folder = (keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        done = run_again(read, project, folder, lambda line: screen.console().print(line, style="dim", soft_wrap=True))
    report.differing(done.differences, "recorded", "now")
    report.agreeing(done.results, "recorded", "now")
    verdict = "reproduced" if done.succeeded else "not reproduced"
    report.said(f"{path.name} is {verdict}: {report.summary(done.results)}", good=done.succeeded)
    if not done.succeeded:
        raise typer.Exit(DIFFERS)


@commands.command()
def new(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the project is to be.")]) -> None:
    """Begin a project of your own: an experiment, a lock file to be made, and how to record and reproduce."""
    from ._new import new_project

    for path in new_project(folder):
        screen.console().print(f"  {screen.near(path)}", soft_wrap=True)
    report.said("Go there, and: torchflux run hello", good=True)
