"""What a stochastic equation refuses, and with which words."""

import pytest
import torch
from diffeq_problems import DTYPE, tensor

from torchflux_diffeq import SDE, Adjoint, BrownianTree, EulerMaruyama, Fixed, Milstein, StochasticHeun, Tsit5, solve

f = lambda t, y, args: -y
PLAIN = SDE(f, f)
GENERAL = SDE(f, lambda t, y, args: y[..., None], "general")
MIXED = SDE(f, lambda t, y, args: y.flip(-1))
NEXT = SDE(f, lambda t, y, args: y + 0.01 * y.roll(1))


class Other(Adjoint):
    """A way to differentiate that nobody has thought of."""

    def solve(self, task):
        return task.march(False)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"generator": None}, TypeError, "takes its noise from a torch.Generator"),
        ({"generator": 3}, TypeError, "generator=3"),
        ({"controller": None}, ValueError, r"Fixed\(dt\)"),
        ({"solver": Tsit5()}, TypeError, r"ordinary equations.*EulerMaruyama\(\)"),
        ({"solver": StochasticHeun()}, ValueError, r"is read as ito: pass EulerMaruyama.*calculus='stratonovich'"),
        ({"f": SDE(f, f, calculus="stratonovich"), "solver": Milstein()}, ValueError, "pass StochasticHeun"),
        ({"f": f, "solver": Milstein()}, TypeError, r"pass f as SDE\(drift, diffusion\)"),
        ({"f": f}, TypeError, "nothing is random"),
        ({"f": GENERAL, "solver": Milstein()}, ValueError, "diagonal or scalar noise, not general"),
        ({"f": MIXED, "solver": Milstein()}, ValueError, "depends on another number"),
        (
            {"f": NEXT, "y0": torch.ones(3000, dtype=DTYPE), "solver": Milstein()},
            ValueError,
            "depends on another number",
        ),
        ({"adjoint": Other()}, TypeError, r"differentiated by Discrete\(\)"),
        ({"f": GENERAL, "y0": {"a": tensor(1.0)}}, TypeError, "one tensor"),
        ({"f": SDE(f, lambda t, y, args: y[:1])}, ValueError, r"shape \(1,\), its state \(2,\)"),
        ({"f": SDE(f, lambda t, y, args: y.float())}, TypeError, "float32"),
        ({"f": SDE(f, f, "general")}, ValueError, "one more, last axis"),
        ({"f": SDE(f, lambda t, y, args: (y,), "general")}, ValueError, "diffusion is tuple"),
        ({"f": SDE(f, lambda t, y, args: y[..., None].float(), "general")}, TypeError, "float32"),
        ({"ts": (1.0, 0.0)}, ValueError, "increase"),
        ({"ts": tensor(0.0, 1.0).requires_grad_()}, ValueError, "no derivative by the time"),
        ({"generator": BrownianTree(0, 0.0, 0.5)}, ValueError, "whole time"),
        ({"generator": BrownianTree(0, 0.0, 1.0, tol=0.1)}, ValueError, "smaller tol"),
        ({"generator": BrownianTree(0, -0.05, 1.55, tol=0.1)}, ValueError, "smaller tol"),
    ],
)
def test_bad_input(arguments, error, message):
    generator = torch.Generator().manual_seed(0)
    given = {"f": PLAIN, "y0": tensor(1.0, 2.0), "ts": (0.0, 1.0), "controller": Fixed(0.1), "generator": generator}
    with pytest.raises(error, match=message):
        solve(**{**given, **arguments})


def test_bad_equations():
    with pytest.raises(TypeError, match="diffusion=2"):
        SDE(f, 2)
    with pytest.raises(ValueError, match=r"noise='additive'.*'diagonal', 'scalar', 'general'"):
        SDE(f, f, "additive")
    with pytest.raises(ValueError, match="calculus='Itô'"):
        SDE(f, f, calculus="Itô")
    with pytest.raises(ValueError, match="can't interpolate"):
        EulerMaruyama().inside(*[torch.zeros(1)] * 4)
