"""torchdiffeq, and torchode where it is installed."""

from torchdiffeq import odeint, odeint_adjoint

from diffeq_peers.workloads import ATOL, RTOL

try:
    import torchode
except ImportError:
    torchode = None

OPTIONS = {"rtol": RTOL, "atol": ATOL, "method": "dopri5"}


def peers(w, slow=True):
    """Loss and gradient of a workload, by name."""
    found = {"torchdiffeq": lambda: w.gradient(odeint(w.model, w.y0, w.ts, **OPTIONS))}
    if slow:
        found["torchdiffeq, adjoint"] = lambda: w.gradient(odeint_adjoint(w.model, w.y0, w.ts, **OPTIONS))
    if torchode is not None:
        found["torchode"] = _torchode(w)
    return found


def _torchode(w):
    """torchode's automatic differentiation, not compiled; its states have an axis for the samples."""
    term = torchode.ODETerm(w.model)
    control = torchode.IntegralController(atol=ATOL, rtol=RTOL, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)
    y0 = w.y0.reshape(-1, 2)
    problem = torchode.InitialValueProblem(y0=y0, t_eval=w.ts.repeat(len(y0), 1))
    return lambda: w.gradient(solver.solve(problem).ys.transpose(0, 1).reshape(w.data.shape))
