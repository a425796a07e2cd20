"""Differential equations inside models: each sample with steps of its own, and the gradient of the whole."""

from ._adjoint import Adjoint, Discrete
from ._backsolve import Backsolve
from ._brownian import BrownianTree
from ._collocation import collocate
from ._controller import PID, Fixed
from ._dense import SaveAt, Steps
from ._divergence import ExactTrace, Hutchinson
from ._dopri8 import Dopri8
from ._events import Callback, Event
from ._ffjord import FFJORD
from ._field import per_sample
from ._forward import Forward
from ._implicit import Implicit, steady_state
from ._implicit_euler import ImplicitEuler
from ._march import Status
from ._mechanics import HamiltonianNN, LagrangianNN, Separable
from ._methods import RK4, Bosh3, Dopri5, Euler, Heun, Midpoint, Tsit5
from ._native_args import NotNative
from ._native_chain import autonomous
from ._native_network import lower
from ._native_odeint import native_odeint
from ._native_route import native_source
from ._neural_ode import AugmentedNeuralODE, NeuralODE, append_time
from ._neural_sde import NeuralSDE
from ._odeint import odeint, odeint_adjoint, odeint_event
from ._rosenbrock import Rodas5P, Rosenbrock23
from ._runge_kutta import ExplicitRungeKutta
from ._scipy import SciPy
from ._sde import SDE
from ._shooting import multiple_shoot
from ._solution import Solution, SolveError, Stats
from ._solve import solve
from ._solver import Solver, Step
from ._steady_state import SteadyState
from ._stochastic import EulerMaruyama, Milstein, StochasticHeun, StochasticSolver, StratonovichMilstein
from ._symplectic import SemiImplicitEuler, Verlet, Yoshida4
from ._tableau import Tableau
from ._torchdiffeq import TorchDiffEq
from ._unreached import UnreachedWarning, unreached

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
