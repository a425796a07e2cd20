"""What CVXPY's solvers say of the random programs; writes Clarabel's answers on a thousand of them, `reference.json`.

Run it where cvxpy is installed: `python integrations/optlayers/tests/make_reference.py`.
"""

import json
from pathlib import Path

from random_programs import KINDS, N, program

SIZE = 200


EXACT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11, "max_iter": 500}


def answer(cvxpy, kind, seed, solver="CLARABEL", **options):
    """The least cost, or why there is none."""
    Q, p, G, h, A, b = program(kind, seed)
    x = cvxpy.Variable(N)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.quad_form(x, cvxpy.psd_wrap(Q)) / 2 + p @ x), [G @ x <= h, A @ x == b])
    problem.solve(solver=solver, **(options or EXACT))
    return problem.value if problem.status.startswith("optimal") else problem.status


if __name__ == "__main__":
    import cvxpy

    found = {kind: [answer(cvxpy, kind, seed) for seed in range(SIZE)] for kind in KINDS}
    versions = {"cvxpy": cvxpy.__version__, "solver": "Clarabel 0.11.1"}
    Path(__file__).with_name("reference.json").write_text(json.dumps(versions | found, indent=0) + "\n")
