"""Pyro's models as log densities on the unconstrained space."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import config_enumerate
from pyro.infer.autoguide.initialization import init_to_uniform
from pyro.infer.mcmc.util import TraceEinsumEvaluator, initialize_model
from pyro.util import get_rng_state, set_rng_state
from torch import Generator, Tensor
from torch.func import vmap

from ._kernel import require_generator
from ._pyro_sites import (
    Values,
    bijections,
    deterministic_sites,
    discrete_sites,
    leading,
    nesting,
    require_same_sites,
    require_sites,
)
from ._run import Samples

__all__ = ["contained", "pyro_logdensity", "vmaps"]

CHUNK = 500
"""The draws whose deterministic sites are computed at once."""


@contextmanager
def contained(generator: Generator) -> Iterator[None]:
    """Pyro draws from global generators: in here they are seeded by `generator`, and afterwards they are as before."""
    require_generator(generator)
    seed = int(torch.randint(2**32, (), generator=generator, device=generator.device))
    before = get_rng_state()
    try:
        with torch.random.fork_rng(), poutine.block():
            pyro.set_rng_seed(seed)
            yield
    finally:
        set_rng_state(before)


def vmaps(logdensity: Any, positions: list[Values]) -> bool:
    """Whether `vmap` gives what one evaluation after the other does."""
    loop = torch.stack([logdensity(position) for position in positions])
    together = {name: torch.stack([position[name] for position in positions]) for name in positions[0]}
    try:
        return torch.allclose(vmap(logdensity, randomness="error")(together), loop, rtol=1e-3, equal_nan=True)
    except RuntimeError:  # what PyTorch raises for all that it can't batch
        return False


class pyro_logdensity:
    """The log density of a Pyro model's latent sites, given its observed ones, on the unconstrained space.

    A position is a dict: a tensor for each latent site, by its name, free of constraints. The density is the model's,
    times the Jacobian of the maps to the sites' supports; discrete sites are summed out by Pyro's enumeration. Values
    in `pyro.param` and in modules may change between a kernel's steps.

    Arguments:
        model: a function with Pyro's statements.
        args, kwargs: the model's. `step(generator, state, *batch)` puts the batch in the place of `args`.

    Attributes:
        bijections: of each latent site, from the unconstrained space to its support.
        discrete: the names of the sites that are summed out.
        vectorized: whether all chains are evaluated at once, by `vmap`; otherwise they are one after the other, because
            the model has discrete sites, or does what `vmap` can't (branches on values, or calls `item()`).

    Raises:
        ValueError: Pyro's enumeration can't sum out a discrete site; a site's support depends on another site; a plate
            takes subsamples; the model has no latent sites, or draws random numbers that belong to no site.

    >>> import pyro, pyro.distributions as dist
    >>> from torchflux_mcmc import nuts, run
    >>> def model(y):
    ...     scale = pyro.sample("scale", dist.HalfNormal(1.0))
    ...     with pyro.plate("data", len(y)):
    ...         pyro.sample("y", dist.Normal(0.0, scale), obs=y)
    >>> logdensity = pyro_logdensity(model, torch.tensor([0.3, -0.2, 0.4]))
    >>> generator = torch.Generator().manual_seed(0)
    >>> start = logdensity.initial(generator, num_chains=4)
    >>> samples = run(generator, nuts(logdensity, step_size=0.5), start, 200)
    >>> bool((logdensity.constrain(samples).positions["scale"] > 0).all())
    True

    Source: Bingham et al. (2019), Pyro: deep universal probabilistic programming, arXiv:1810.09538.
    """

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs, self.model, self.enumerated = args, kwargs, model, model
        generator = torch.Generator().manual_seed(0)
        with contained(generator):
            trace = poutine.trace(model).get_trace(*args, **kwargs)
        self.discrete, self.nesting = discrete_sites(trace), nesting(trace)
        if self.discrete:
            self.enumerated = poutine.enum(config_enumerate(model), first_available_dim=-1 - self.nesting)
        with contained(generator):
            first, second = self._prototype(), self._prototype()
        self.bijections = bijections(first, second)
        self.evaluator = TraceEinsumEvaluator(first[1], bool(self.discrete), self.nesting)
        self.deterministic = deterministic_sites(trace, first[1])
        positions = [self.unconstrain(values) for values, _ in (first, second)]
        self.shapes = {name: tuple(x.shape) for name, x in positions[0].items()}
        self._require_no_noise(positions[0], generator)
        self.vectorized = not self.discrete and vmaps(self, positions)

    def __repr__(self) -> str:
        name = getattr(self.model, "__name__", type(self.model).__name__)
        return f"pyro_logdensity({name}): {self.shapes}"

    def __call__(self, position: Values, *batch: Any) -> Tensor:
        """The log density of one position, a scalar."""
        require_sites(position, self.bijections)
        return self._joint(position, batch)[0]

    def initial(
        self, generator: Generator, num_chains: int | None = None, init_strategy: Any = init_to_uniform
    ) -> Values:
        """A position where the density and its gradient are finite; with `num_chains` so many, in front.

        Arguments:
            init_strategy: Pyro's, from `pyro.infer.autoguide.initialization`.

        Raises:
            ValueError: none was found.
        """
        with contained(generator), pyro.validation_enabled(False):
            position, _ = self._initialized(num_chains or 1, init_strategy)
        lead = [] if num_chains is None else [num_chains]
        return {name: position[name].detach().reshape([*lead, *shape]) for name, shape in self.shapes.items()}

    def constrain(self, samples: Any) -> Any:
        """Positions as the model's own values: those of the latent sites, and of the deterministic ones.

        Arguments:
            samples: `run`'s, or a position; any axes may be in front.

        Returns:
            What was given, with its positions constrained.
        """
        if isinstance(samples, Samples):
            return replace(samples, positions=self.constrain(samples.positions))
        require_sites(samples, self.shapes)
        lead = leading(samples, self.shapes)
        constrained = {name: bijection(samples[name]) for name, bijection in self.bijections.items()}
        return constrained | self._functions(samples, lead) if self.deterministic else constrained

    def unconstrain(self, values: Values) -> Values:
        """The position of these values of the latent sites."""
        require_sites(values, self.bijections)
        return {name: bijection.inv(values[name]) for name, bijection in self.bijections.items()}

    def _joint(self, position: Values, batch: tuple[Any, ...] = ()) -> tuple[Tensor, Any]:
        """The log density, and the model's trace."""
        values = {name: bijection(position[name]) for name, bijection in self.bijections.items()}
        with poutine.block(), pyro.validation_enabled(False):
            conditioned = poutine.condition(self.enumerated, values)
            trace = poutine.trace(conditioned).get_trace(*(batch or self.args), **self.kwargs)
            require_same_sites(trace, self.bijections, self.discrete)
            value = self.evaluator.log_prob(trace)
        for name, bijection in self.bijections.items():
            value = value + bijection.log_abs_det_jacobian(position[name], values[name]).sum()
        return value, trace

    def _prototype(self) -> tuple[Values, Any]:
        """Values of the latent sites at which the model can be evaluated, and the trace there."""
        position, transforms = self._initialized(1, init_to_uniform)
        if not position:
            raise ValueError("the model has no latent sites: everything in it is observed, or summed out")
        values = {name: transforms[name].inv(x) for name, x in position.items()}
        trace = poutine.trace(poutine.condition(self.enumerated, values)).get_trace(*self.args, **self.kwargs)
        return values, trace

    def _initialized(self, num_chains: int, init_strategy: Any) -> tuple[Values, Any]:
        """Pyro's positions for chains (of one chain without an axis), and the maps from the supports to them."""
        options = {"max_plate_nesting": self.nesting, "num_chains": num_chains, "init_strategy": init_strategy}
        try:
            position, _, transforms, _ = initialize_model(self.model, self.args, self.kwargs, **options)
        except ValueError as error:
            if "initial params" not in str(error):
                raise
            raise ValueError(
                "no position was found in 100 tries where the model's log density and its gradient are finite: is all "
                "that is observed possible under the model?"
            ) from error
        return position, transforms

    def _require_no_noise(self, position: Values, generator: Generator) -> None:
        with contained(generator):
            before = torch.get_rng_state()
            self._joint(position)
            if not torch.equal(torch.get_rng_state(), before):
                raise ValueError(
                    "the model draws random numbers that belong to no site: its log density would be another one at "
                    "each call. Draw them with pyro.sample, or before, and pass them to the model"
                )

    def _functions(self, position: Values, lead: tuple[int, ...]) -> Values:
        """The values of the deterministic sites."""

        def values(one: Values) -> Values:
            nodes = self._joint(one)[1].nodes
            return {name: nodes[name]["value"] for name in self.deterministic}

        rows = {name: x.reshape(-1, *self.shapes[name]) for name, x in position.items()}
        with torch.no_grad():
            if self.vectorized:
                found = vmap(values, randomness="error", chunk_size=CHUNK)(rows)
            else:
                count = len(next(iter(rows.values())))
                each = [values({name: x[i] for name, x in rows.items()}) for i in range(count)]
                found = {name: torch.stack([one[name] for one in each]) for name in self.deterministic}
        return {name: x.reshape(*lead, *x.shape[1:]) for name, x in found.items()}
