"""A Pyro model's sites: which are sampled, which are summed out, and what has to be refused."""

import warnings
from typing import Any

from pyro.distributions import Delta, MaskedDistribution
from torch import Tensor, equal
from torch.distributions import biject_to

__all__ = [
    "Values", "bijections", "deterministic_sites", "discrete_sites", "leading", "nesting", "require_same_sites",
    "require_sites",
]  # fmt: skip

Values = dict[str, Tensor]
"""By the sites' names."""


def _sites(trace: Any) -> list[tuple[str, Any]]:
    """A trace's sites but for its plates."""
    return [(name, site) for name, site in trace.nodes.items() if site["type"] == "sample" and not _plate(site)]


def _plate(site: Any) -> bool:
    return type(site["fn"]).__name__ == "_Subsample"


def nesting(trace: Any) -> int:
    """How many axes the plates take, one inside of the other."""
    return -min((f.dim for _, site in _sites(trace) for f in site["cond_indep_stack"] if f.vectorized), default=0)


def deterministic_sites(trace: Any, enumerated: Any) -> list[str]:
    """The names of the functions of latent sites, without those that have another value for each discrete site's."""
    found = []
    for name, site in _sites(trace):
        if _determined(site):
            if site["value"].shape == enumerated.nodes[name]["value"].shape:
                found.append(name)
            else:
                warnings.warn(
                    f"the deterministic site {name!r} depends on a discrete site that is summed out: it isn't computed",
                    stacklevel=4,
                )
    return found


def _determined(site: Any) -> bool:
    """Whether it is a `pyro.deterministic`, or what a reparameterised site has become."""
    fn = site["fn"]
    inner = fn.base_dist if isinstance(fn, MaskedDistribution) else None
    return bool(site["infer"].get("_deterministic")) or isinstance(inner, Delta)


def discrete_sites(trace: Any) -> set[str]:
    """The names of the sites that Pyro sums out."""
    found = set()
    for name, site in trace.nodes.items():
        if site["type"] != "sample" or site["is_observed"]:
            continue
        fn = site["fn"]
        if _plate(site):
            if fn.subsample_size is not None and fn.subsample_size < fn.size:
                raise ValueError(
                    f"the plate {name!r} takes {fn.subsample_size} of {fn.size} at random: give it all, or pass the "
                    "part as the model's argument, and scale its likelihood with poutine.scale"
                )
        elif fn.support.is_discrete:
            if not fn.has_enumerate_support:
                raise ValueError(
                    f"the site {name!r} is a {_family(fn)}, which is discrete and has no end: it can't be summed out; "
                    "write its sum into the model, or give it a continuous distribution"
                )
            if site["infer"].get("enumerate", "parallel") != "parallel":
                raise ValueError(f"the site {name!r} is enumerated sequentially: a density takes enumerate='parallel'")
            found.add(name)
    return found


def _family(fn: Any) -> str:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return type(fn).__name__


def bijections(first: tuple[Values, Any], second: tuple[Values, Any]) -> dict[str, Any]:
    """Of each latent site, to its support, which has to be the same whatever the other sites' values are."""
    (values, trace), (others, other_trace) = first, second
    if values.keys() != others.keys() or any(values[name].shape != others[name].shape for name in values):
        shapes = [{name: tuple(x.shape) for name, x in part.items()} for part in (values, others)]
        raise ValueError(f"the model's sites are {shapes[0]} in one call, {shapes[1]} in another: make them the same")
    found = {}
    for name, x in values.items():
        bijection, other = (biject_to(t.nodes[name]["fn"].support) for t in (trace, other_trace))
        if not equal(bijection.inv(x), other.inv(x)):
            raise ValueError(
                f"the support of the site {name!r} depends on other sites: sample it from a fixed support, and scale "
                "it with pyro.deterministic"
            )
        found[name] = bijection
    return found


def require_same_sites(trace: Any, latent: dict[str, Any], discrete: set[str]) -> None:
    """Refuses a model whose sites depend on their values: its density would be of another number of dimensions."""
    drawn = {name for name, site in _sites(trace) if not site["is_observed"]}
    missing = [name for name in latent if name not in trace.nodes]
    if drawn != discrete or missing:
        names = sorted(missing) or sorted(drawn ^ discrete)
        raise ValueError(f"the sites {names} are there at some values of the others only: a density needs all, always")


def require_sites(values: Any, due: dict[str, Any]) -> None:
    """Refuses what isn't a dict with a tensor for each latent site."""
    if not isinstance(values, dict) or values.keys() != due.keys():
        given = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"{given} was given; the model's latent sites are {sorted(due)}")


def leading(position: Values, shapes: dict[str, Any]) -> tuple[int, ...]:
    """The axes in front of a position's tensors."""
    leads = {tuple(x.shape[: x.dim() - len(shapes[name])]) for name, x in position.items()}
    if len(leads) > 1 or any(x.shape[x.dim() - len(shapes[name]) :] != shapes[name] for name, x in position.items()):
        given = {name: tuple(x.shape) for name, x in position.items()}
        raise ValueError(f"the position has the shapes {given}; the sites' are {shapes}, with the same axes in front")
    return leads.pop()
