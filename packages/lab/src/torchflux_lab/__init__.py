"""torchflux_lab: experiments are plain scripts, and the `torchflux` command finds, lists and runs them.

An experiment is `experiments/NAME/NAME.py` with a dataclass `Parameters` and a function
`main(parameters, out)`. What the command does is here as functions, for other programs:

    experiment = find("dan", experiments_folder())
    with experiment.loaded() as program:
        parameters = parameters_with(program.parameters, ["steps=100"])
        perform(program, parameters, run_folder("dan"))

Importing this package imports neither PyTorch nor the command line.
"""

from ._checkpoint import *
from ._code import *
from ._error import *
from ._experiment import *
from ._find import *
from ._folder import *
from ._metrics import *
from ._parameters import *
from ._results import *
from ._resume import *
from ._run import *
from ._runs import *
from ._versions import *

__version__ = "0.1.0"
