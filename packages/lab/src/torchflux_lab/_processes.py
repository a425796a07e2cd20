"""How many processes a run has; the launcher tells each of them by a variable."""

import os

__all__ = ["FOLDER", "processes"]

#: The variable that holds the folder of the run that this process is a worker of.
FOLDER = "TORCHFLUX_RUN"


def processes() -> int:
    """How many processes the run that is carried out here has."""
    return int(os.environ["WORLD_SIZE"]) if FOLDER in os.environ else 1
