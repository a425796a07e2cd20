"""What a problem of CVXPY's has to be for a layer, and where it isn't."""

from collections.abc import Sequence
from typing import Any

__all__ = ["cvxpy", "require_disciplined"]


def cvxpy() -> Any:
    """The package.

    Raises:
        ImportError: it isn't there.
    """
    try:
        import cvxpy as cp
    except ImportError as error:
        raise ImportError("ConvexLayer needs CVXPY: pip install 'torchflux-optlayers[convex]'") from error
    return cp


def require_disciplined(problem: Any, parameters: Sequence[Any], variables: Sequence[Any]) -> None:
    """Checks what is given to a layer.

    Raises:
        TypeError: it isn't a problem with sequences of parameters and variables.
        ValueError: these aren't the problem's, or it isn't one that a layer can solve; the message says where.
    """
    cp = cvxpy()
    if not isinstance(problem, cp.Problem):
        raise TypeError(f"problem is {type(problem).__name__}: it is a cvxpy.Problem")
    for name, given, kind in (("parameters", parameters, cp.Parameter), ("variables", variables, cp.Variable)):
        if not isinstance(given, (list, tuple)) or not all(isinstance(v, kind) for v in given):
            raise TypeError(f"{name} is {given!r}: it is a list or tuple of objects of cvxpy.{kind.__name__}")
    _require_all_parameters(problem, parameters)
    _require_known_variables(problem, variables)
    _require_convex(problem)
    _require_parametrised(problem)


def _names(leaves: Sequence[Any]) -> str:
    return ", ".join(f"{v.name()} {v.shape}" for v in leaves)


def _require_all_parameters(problem: Any, parameters: Sequence[Any]) -> None:
    given, there = {p.id for p in parameters}, {p.id for p in problem.parameters()}
    if len(given) < len(parameters):
        raise ValueError(f"parameters has one of them twice: {_names(parameters)}")
    if missing := [p for p in problem.parameters() if p.id not in given]:
        raise ValueError(f"parameters lacks {_names(missing)}, which the problem depends on")
    if foreign := [p for p in parameters if p.id not in there]:
        raise ValueError(f"parameters has {_names(foreign)}, which the problem doesn't depend on")


def _require_known_variables(problem: Any, variables: Sequence[Any]) -> None:
    known = {v.id for v in problem.variables()} | {v.id for c in problem.constraints for v in c.dual_variables}
    if foreign := [v for v in variables if v.id not in known]:
        raise ValueError(
            f"variables has {_names(foreign)}: neither a variable of the problem nor among the dual_variables of a "
            "constraint"
        )


def _require_convex(problem: Any) -> None:
    leaves = [*problem.variables(), *problem.parameters()]
    if not problem.variables():
        raise ValueError("the problem has no variables")
    if problem.is_mixed_integer():
        discrete = [v for v in leaves if v.attributes["integer"] or v.attributes["boolean"]]
        raise ValueError(
            f"the problem has integers ({_names(discrete) or 'in a constraint'}), whose solutions have no derivatives: "
            "relax them to an interval"
        )
    if complex_ones := [v for v in leaves if v.is_complex()]:
        raise ValueError(f"{_names(complex_ones)} is complex: write the real and the imaginary part")
    if problem.is_dcp():
        return
    if problem.is_dgp():
        raise ValueError(
            "the problem is a geometric program: write it in the logarithms of its variables and parameters, with "
            "cvxpy.log_sum_exp for sums"
        )
    place, expression = _place(problem, dpp=False)
    raise ValueError(f"{place} isn't DCP (convex by CVXPY's rules): look at `{expression}`")


def _require_parametrised(problem: Any) -> None:
    for constraint in problem.constraints:
        exponents = getattr(constraint, "alpha", None)
        if exponents is not None and (fixed := exponents.parameters()):
            raise ValueError(f"the exponents of {constraint} depend on {_names(fixed)}: they have to be numbers")
    if problem.is_dpp(quad_form_dpp="qp"):
        return
    place, expression = _place(problem, dpp=True)
    raise ValueError(
        f"{place} isn't DPP (linear in the parameters by CVXPY's rules): look at `{expression}` with "
        f"{_names(expression.parameters())}; compute such a part in PyTorch and pass it as a parameter of its own, or "
        "give it to a variable by an equation"
    )


def _place(problem: Any, dpp: bool) -> tuple[str, Any]:
    """Which part of a problem breaks the rules, and the smallest expression in it that does."""
    from cvxpy.utilities import scopes

    for i, constraint in enumerate(problem.constraints):
        if not constraint.is_dcp(dpp=dpp):
            return f"constraints[{i}], `{constraint}`,", _smallest(constraint, dpp)
    with scopes.quad_form_dpp_scope():
        return "the objective", _smallest(problem.objective, dpp)


def _smallest(node: Any, dpp: bool) -> Any:
    """The deepest node that isn't convex or concave, though all its arguments are."""
    for argument in node.args:
        if not argument.is_dcp(dpp=dpp):
            return _smallest(argument, dpp)
    return node
