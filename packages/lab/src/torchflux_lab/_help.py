"""`torchflux run NAME --help`: the command's own options, and below them what the experiment lets one set."""

from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from . import _screen as screen
from ._find import experiments_folder, find
from ._parameters import parameters_of

GIVEN = "torchflux_lab.given"  # where the command line is kept for the help, which is shown before it is read


class ExperimentCommand(TyperCommand):
    """A command on an experiment, whose help shows that experiment's parameters."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep what was given, then read it."""
        ctx.meta[GIVEN] = list(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the options, then the parameters."""
        super().format_help(ctx, formatter)
        name, folder = self._named(ctx)
        if name is None:
            return
        with find(name, experiments_folder(folder)).loaded() as program:
            screen.parameters(program.experiment, parameters_of(program.parameters))

    def _named(self, ctx: Any) -> tuple[str | None, Path | None]:
        """The experiment and the experiments folder that were given with --help."""
        options, _, _ = self.make_parser(ctx).parse_args(ctx.meta.get(GIVEN, []))
        folder = options.get("experiments_dir")
        return options.get("name"), Path(folder) if folder else None
