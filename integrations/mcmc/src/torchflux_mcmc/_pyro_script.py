"""What a script for Pyro's `MCMC` names: `MCMC(NUTS(model), num_samples).run(data)`, with our samplers underneath."""

from dataclasses import KW_ONLY, dataclass, replace
from math import pi
from typing import Any

import numpy as np
import torch
from pyro.infer.autoguide.initialization import init_to_uniform
from pyro.infer.mcmc.util import diagnostics, print_summary, select_samples
from torch import Generator, Tensor

from ._adaptation import window_adaptation
from ._hamiltonian import Counts, hmc
from ._kernel import Info, Kernel, Tuning
from ._nuts import nuts
from ._pyro_density import pyro_logdensity, vmaps
from ._pyro_sites import Values
from ._run import Samples, run

__all__ = ["HMC", "MCMC", "NUTS"]


@dataclass(frozen=True)
class _Described:
    """A kernel with Pyro's names for its options; those for compilation are taken and have no effect."""

    model: Any = None
    potential_fn: Any = None
    step_size: float = 1.0
    _: KW_ONLY
    adapt_step_size: bool = True
    adapt_mass_matrix: bool = True
    full_mass: bool = False
    target_accept_prob: float = 0.8
    init_strategy: Any = init_to_uniform
    max_plate_nesting: int | None = None
    jit_compile: bool = False
    jit_options: Any = None
    ignore_jit_warnings: bool = False

    def __post_init__(self) -> None:
        if (self.model is None) == (self.potential_fn is None):
            raise ValueError("pass either a model or potential_fn=")
        if self.adapt_step_size != self.adapt_mass_matrix:
            raise ValueError("adapt_step_size and adapt_mass_matrix go together here: pass the same for both")
        if not isinstance(self.full_mass, bool):
            raise ValueError(f"full_mass is {self.full_mass}: blocks aren't made here, pass True for all, or False")

    def algorithm(self) -> tuple[type[Kernel], dict[str, Any]]:
        """Our kernel, and the options that aren't learnt."""
        raise NotImplementedError


@dataclass(frozen=True)
class NUTS(_Described):
    """Pyro's `NUTS(model, ...)`, for this module's `MCMC`.

    >>> NUTS(lambda: None, max_tree_depth=8).max_tree_depth
    8
    """

    _: KW_ONLY
    max_tree_depth: int = 10

    def algorithm(self) -> tuple[type[Kernel], dict[str, Any]]:
        """`nuts`."""
        return nuts, {"max_num_doublings": self.max_tree_depth}


@dataclass(frozen=True)
class HMC(_Described):
    """Pyro's `HMC(model, ...)`, for this module's `MCMC`: trajectories are `trajectory_length` long, 2π by default.

    >>> HMC(lambda: None, step_size=0.1, num_steps=4).algorithm()[1]
    {'length': 0.4}
    """

    _: KW_ONLY
    trajectory_length: float | None = None
    num_steps: int | None = None

    def algorithm(self) -> tuple[type[Kernel], dict[str, Any]]:
        """`hmc` with trajectories of one length of time."""
        steps = 2 * pi if self.num_steps is None else self.step_size * self.num_steps
        return _timed, {"length": steps if self.trajectory_length is None else self.trajectory_length}


@dataclass(frozen=True, eq=False)
class _timed(hmc):
    """`hmc` whose trajectories have one length of time: each chain makes as many steps as its step size needs."""

    length: float = 2 * pi

    def steps(self, tuning: Tuning) -> Counts:
        """The whole steps in the length, which may be a rounding error short of them."""
        return np.maximum(1, (self.length / tuning.step_size * (1 + 1e-9)).astype(np.int64))


class _Potential:
    """A log density of Pyro's `potential_fn`."""

    def __init__(self, potential: Any, start: Values) -> None:
        self.potential = potential
        one = {name: x[0].detach() for name, x in start.items()}
        self.vectorized = vmaps(potential, [one, one])

    def __call__(self, position: Values) -> Tensor:
        return -self.potential(position)


class MCMC:
    """Pyro's `MCMC`, with this package's samplers: a script changes the line that imports it.

    All chains run at once, in this process. `disable_validation` and `mp_context` are taken and have no effect.

    Arguments:
        kernel: this module's `NUTS` or `HMC`.
        num_samples: how many draws each chain gives.
        warmup_steps: the transitions before; as many as draws where it isn't given.
        initial_params: by the sites' names on the unconstrained space; with several chains, these are the first axis.
        num_chains: how many.
        transforms: for a kernel with `potential_fn`, by name: the inverses of what is applied to its draws.
        save_params: the sites that are returned, where these aren't all.
        generator: of all random numbers; where it isn't given, it is seeded from PyTorch's, which `pyro.set_rng_seed`
            seeds.

    Attributes:
        samples: what `run` gave, constrained and with the deterministic sites: for `summary`, `to_arviz` and pictures.

    Raises:
        ValueError: an option that has no meaning here.

    >>> import pyro, pyro.distributions as dist
    >>> def model(y):
    ...     scale = pyro.sample("scale", dist.HalfNormal(1.0))
    ...     with pyro.plate("data", len(y)):
    ...         pyro.sample("y", dist.Normal(0.0, scale), obs=y)
    >>> pyro.set_rng_seed(0)
    >>> mcmc = MCMC(NUTS(model), num_samples=100, warmup_steps=50, num_chains=2, disable_progbar=True)
    >>> mcmc.run(torch.tensor([0.3, -0.2, 0.4]))
    >>> mcmc.get_samples()["scale"].shape, mcmc.get_samples(group_by_chain=True)["scale"].shape
    (torch.Size([200]), torch.Size([2, 100]))
    """

    def __init__(
        self, kernel: _Described, num_samples: int, warmup_steps: int | None = None,
        initial_params: Values | None = None, num_chains: int = 1, hook_fn: Any = None, mp_context: Any = None,
        disable_progbar: bool = False, disable_validation: bool | None = True,
        transforms: dict[str, Any] | None = None, save_params: list[str] | None = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(kernel, _Described):
            raise TypeError(f"kernel is a {type(kernel).__name__}: pass NUTS or HMC of torchflux_mcmc.pyro")
        if hook_fn is not None:
            raise ValueError("hook_fn isn't called here: chains run at once. Step a kernel yourself, with its `step`")
        if transforms is not None and kernel.model is not None:
            raise ValueError("transforms= is for potential_fn: a model's own supports are used")
        if kernel.potential_fn is not None and initial_params is None:
            raise ValueError("pass initial_params= with potential_fn: there is no model to draw them from")
        self.kernel, self.num_samples, self.num_chains = kernel, num_samples, num_chains
        self.warmup_steps = num_samples if warmup_steps is None else warmup_steps
        self.initial_params, self.transforms = initial_params, transforms or {}
        self.save_params, self.generator, self.progress = save_params, generator, not disable_progbar
        self.samples: Samples | None = None

    def run(self, *args: Any, **kwargs: Any) -> None:
        """Warms up and draws, with the model's arguments."""
        generator = self.generator or torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        logdensity, start = self._target(generator, args, kwargs)
        state, alg = self._warmed(generator, logdensity, start)
        samples = run(generator, alg, state, self.num_samples, progress=self.progress)
        if isinstance(logdensity, pyro_logdensity):
            self.samples, self.sites = logdensity.constrain(samples), list(logdensity.bijections)
            return
        back = {name: self.transforms[name].inv(x) if name in self.transforms else x
                for name, x in samples.positions.items()}  # fmt: skip
        self.samples, self.sites = replace(samples, positions=back), list(back)

    def _target(self, generator: Generator, args: Any, kwargs: Any) -> tuple[Any, Values]:
        """The log density, and where the chains start."""
        start = self.initial_params
        if start is not None:
            start = start if self.num_chains > 1 else {name: x[None] for name, x in start.items()}
            if any(len(x) != self.num_chains for x in start.values()):
                shapes = {name: tuple(x.shape) for name, x in start.items()}
                raise ValueError(f"initial_params has the shapes {shapes}: the first axis is {self.num_chains} chains'")
        if self.kernel.model is None:
            assert start is not None
            return _Potential(self.kernel.potential_fn, start), start
        logdensity = pyro_logdensity(self.kernel.model, *args, **kwargs)
        return logdensity, start or logdensity.initial(generator, self.num_chains, self.kernel.init_strategy)

    def _warmed(self, generator: Generator, logdensity: Any, start: Values) -> tuple[Any, Kernel]:
        """Where the chains are after warm-up, and the kernel that it made."""
        kind, options = self.kernel.algorithm()
        if not self.kernel.adapt_step_size:
            alg = kind(logdensity, step_size=self.kernel.step_size, **options)  # type: ignore[call-arg]
            return (run(generator, alg, start, self.warmup_steps).state if self.warmup_steps else start), alg
        warmup = window_adaptation(
            kind, logdensity, target_acceptance_rate=self.kernel.target_accept_prob, dense=self.kernel.full_mass,
            initial_step_size=self.kernel.step_size, **options,
        )  # fmt: skip
        state, params = warmup.run(generator, start, max(self.warmup_steps, 1), chains=True, progress=self.progress)
        return state, kind(logdensity, **params, **options)  # type: ignore[call-arg]

    @property
    def _drawn(self) -> tuple[Values, Info]:
        if self.samples is None:
            raise ValueError("there are no samples yet: call run first")
        names = self.sites if self.save_params is None else self.save_params
        return {name: self.samples.positions[name] for name in names}, self.samples.info

    def get_samples(self, num_samples: int | None = None, group_by_chain: bool = False) -> Values:
        """The latent sites' draws by name, (chains * draws, ...) or (chains, draws, ...).

        Arguments:
            num_samples: so many, taken at random with repetition.
        """
        found: Values = select_samples(self._drawn[0], num_samples, group_by_chain)
        return found

    def diagnostics(self) -> dict[str, Any]:
        """Pyro's effective sample sizes and R-hat of every site, the divergent draws, and mean acceptance rates."""
        draws, info = self._drawn
        found: dict[str, Any] = diagnostics(draws)
        found["divergences"] = _by_chain(info.is_divergent, lambda x: np.flatnonzero(x).tolist())
        found["acceptance rate"] = _by_chain(info.acceptance_rate, lambda x: float(x.mean()))
        return found

    def summary(self, prob: float = 0.9) -> None:
        """Prints Pyro's table, and the number of divergences."""
        draws, info = self._drawn
        print_summary(draws, prob=prob)
        print(f"Number of divergences: {int(info.is_divergent.sum())}")


def _by_chain(rows: Any, what: Any) -> dict[str, Any]:
    return {f"chain {i}": what(row) for i, row in enumerate(rows)}
