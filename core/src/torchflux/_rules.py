"""The catalogue of optimiser rules.

Each is the paper's algorithm as Optimisers.jl states it; `eta` is the learning rate. The ones that PyTorch
has a fused kernel for use it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from ._optimise import Leaf, Rule

# fmt: off
__all__ = [
    "AMSGrad", "AccumGrad", "AdaBelief", "AdaDelta", "AdaGrad", "AdaMax", "Adam", "AdamW", "ClipGrad",
    "ClipNorm", "Descent", "Lion", "Momentum", "NAdam", "Nesterov", "OAdam", "RAdam", "RMSProp", "Rprop",
    "SignDecay", "WeightDecay",
]
# fmt: on

State = Any


@dataclass
class Descent(Rule):
    """Gradient descent: x ← x - η dx."""

    eta: float = 0.1

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """η dx."""
        return state, dx * self.eta

    def step(self, leaves: list[Leaf], xs: list[Tensor], dxs: list[Tensor]) -> None:
        """All parameters at once."""
        torch._foreach_add_(xs, dxs, alpha=-self.eta)


@dataclass
class Momentum(Rule):
    """Gradient descent with momentum: v ← ρ v + η dx, x ← x - v.

    Source: Polyak (1964), doi:10.1016/0041-5553(64)90137-5.
    """

    slots = ("velocity",)
    eta: float = 0.01
    rho: float = 0.9

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """The new velocity."""
        return state, state["velocity"].mul_(self.rho).add_(dx, alpha=self.eta).clone()

    def step(self, leaves: list[Leaf], xs: list[Tensor], dxs: list[Tensor]) -> None:
        """All parameters at once."""
        velocities = [leaf.state["velocity"] for leaf in leaves]
        torch._foreach_mul_(velocities, self.rho)
        torch._foreach_add_(velocities, dxs, alpha=self.eta)
        torch._foreach_sub_(xs, velocities)


@dataclass
class Nesterov(Rule):
    """Nesterov's momentum, with the look-ahead folded into the step.

    Source: Sutskever et al. (2013), PMLR 28(3):1139.
    """

    slots = ("velocity",)
    eta: float = 0.001
    rho: float = 0.9

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """ρ v' + η dx, with v' = ρ v + η dx."""
        return state, self.rho * state["velocity"].mul_(self.rho).add_(dx, alpha=self.eta) + self.eta * dx


@dataclass
class RMSProp(Rule):
    """Divides by a running root mean square of the gradient; `centred` subtracts the running mean first.

    Source: Tieleman & Hinton (2012), Coursera lecture 6e; centred: Graves (2013), arXiv 1308.0850.
    """

    slots = ("square", "mean")
    eta: float = 0.001
    rho: float = 0.9
    epsilon: float = 1e-8
    centred: bool = False

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """η dx / (√(E|dx|² - |E dx|²) + ε)."""
        variance = state["square"].lerp_(dx.square(), 1 - self.rho)
        if self.centred:
            variance = (variance - state["mean"].lerp_(dx, 1 - self.rho).square()).clamp_min(0)
        return state, self.eta * dx / (variance.sqrt() + self.epsilon)


@dataclass
class Rprop(Rule):
    """Steps that know only the gradient's sign: longer while it stays, shorter when it changes.

    Source: Riedmiller & Braun (1993), doi:10.1109/ICNN.1993.298623 (without weight backtracking).
    """

    eta: float = 0.001
    factors: tuple[float, float] = (0.5, 1.2)
    limits: tuple[float, float] = (1e-6, 50.0)

    def init(self, x: Tensor) -> State:
        """The gradient before, and the step lengths."""
        return {"before": torch.zeros_like(x), "length": torch.full_like(x, self.eta)}

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """length · sign(dx), and nothing just after a change of sign."""
        shrink, grow = self.factors
        same = (dx * state["before"]).sign()
        state["length"].mul_(torch.where(same > 0, grow, torch.where(same < 0, shrink, 1.0))).clamp_(*self.limits)
        state["before"].copy_(torch.where(same < 0, 0.0, dx))
        return state, state["length"] * state["before"].sign()


@dataclass
class Adam(Rule):
    """Adaptive moments.

    Source: Kingma & Ba (2015), arXiv 1412.6980.
    """

    slots = ("m", "v")
    eta: float = 0.001
    beta: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    def init(self, x: Tensor) -> State:
        """The moments and the number of steps."""
        return super().init(x) | {"step": torch.zeros((), device=x.device)}

    def moments(self, state: State, dx: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Moves the moments on: m, v, and the step number."""
        t = state["step"].add_(1)
        m = state["m"].lerp_(dx, 1 - self.beta[0])
        v = state["v"].lerp_(dx.square(), 1 - self.beta[1])
        return m, v, t

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """η m̂ / (√v̂ + ε)."""
        m, v, t = self.moments(state, dx)
        scale = (v / (1 - self.beta[1] ** t)).sqrt() + self.epsilon
        return state, self.eta * (m / (1 - self.beta[0] ** t)) / scale

    def step(self, leaves: list[Leaf], xs: list[Tensor], dxs: list[Tensor]) -> None:
        """All parameters at once, by PyTorch's fused kernel."""
        if torch.compiler.is_compiling():
            return super().step(leaves, xs, dxs)  # the compiler fuses the formula itself
        states, amsgrad = [leaf.state for leaf in leaves], "vmax" in self.slots
        m, v, vmax, steps = ([s[name] for s in states if name in s] for name in ("m", "v", "vmax", "step"))
        b1, b2 = self.beta
        kinds = {"fused": True, "amsgrad": amsgrad, "maximize": False}
        return adam(
            xs, dxs, m, v, vmax, steps, **kinds, lr=self.eta, beta1=b1, beta2=b2, eps=self.epsilon, weight_decay=0
        )


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay: x also shrinks by η · decay · x (`couple=False`: by decay · x).

    Source: Loshchilov & Hutter (2019), arXiv 1711.05101.
    """

    decay: float = 0.01
    couple: bool = True

    @property
    def shrink(self) -> float:
        """The share of x that is taken away in one step."""
        return self.eta * self.decay if self.couple else self.decay

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """Adam's step and the decay."""
        state, change = super().apply(state, x, dx)
        return state, change + self.shrink * x

    def step(self, leaves: list[Leaf], xs: list[Tensor], dxs: list[Tensor]) -> None:
        """The decay, then Adam's kernel."""
        if torch.compiler.is_compiling():
            return Rule.step(self, leaves, xs, dxs)
        torch._foreach_mul_(xs, 1 - self.shrink)
        return super().step(leaves, xs, dxs)


@dataclass
class AMSGrad(Adam):
    """Adam with the largest second moment seen so far (bias-corrected, as PyTorch has it).

    Source: Reddi et al. (2018), arXiv 1904.09237.
    """

    slots = ("m", "v", "vmax")

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """η m̂ / (√v̂max + ε)."""
        m, v, t = self.moments(state, dx)
        largest = torch.maximum(state["vmax"], v, out=state["vmax"])
        scale = (largest / (1 - self.beta[1] ** t)).sqrt() + self.epsilon
        return state, self.eta * (m / (1 - self.beta[0] ** t)) / scale


@dataclass
class NAdam(Adam):
    """Adam with Nesterov's momentum (constant β₁, as in Optimisers.jl; PyTorch's has a schedule).

    Source: Dozat (2016), ICLR workshop, "Incorporating Nesterov momentum into Adam".
    """

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """η (β₁ m/(1-β₁ᵗ⁺¹) + (1-β₁) dx/(1-β₁ᵗ)) / (√v̂ + ε)."""
        m, v, t = self.moments(state, dx)
        b1, b2 = self.beta
        ahead = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * dx / (1 - b1**t)
        return state, self.eta * ahead / ((v / (1 - b2**t)).sqrt() + self.epsilon)

    step = Rule.step


@dataclass
class RAdam(Adam):
    """Adam that waits to divide by the second moment until its variance is known well enough.

    Source: Liu et al. (2020), arXiv 1908.03265.
    """

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """η r m̂ / (√v̂ + ε), or η m̂ in the first steps."""
        m, v, t = self.moments(state, dx)
        b1, b2 = self.beta
        limit = 2 / (1 - b2) - 1
        length = limit - 2 * t * b2**t / (1 - b2**t)
        r2 = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
        adaptive = r2.clamp_min(0).sqrt() / ((v / (1 - b2**t)).sqrt() + self.epsilon)
        return state, self.eta * m / (1 - b1**t) * torch.where(length > 5, adaptive, 1.0)

    step = Rule.step


@dataclass
class AdaMax(Adam):
    """Adam with the infinity norm for its second moment.

    Source: Kingma & Ba (2015), arXiv 1412.6980, section 7.
    """

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """η m̂ / (u + ε), u ← max(β₂ u, |dx|)."""
        t = state["step"].add_(1)
        m = state["m"].lerp_(dx, 1 - self.beta[0])
        u = state["v"].mul_(self.beta[1])
        torch.maximum(u, dx.abs(), out=u)
        return state, self.eta / (1 - self.beta[0] ** t) * m / (u + self.epsilon)

    step = Rule.step


@dataclass
class OAdam(Adam):
    """Optimistic Adam: twice this step minus the one before, for games and adversarial training.

    Source: Daskalakis et al. (2018), arXiv 1711.00141.
    """

    slots = ("m", "v", "before")
    beta: tuple[float, float] = (0.5, 0.9)

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """2 Δₜ - Δₜ₋₁."""
        state, change = super().apply(state, x, dx)
        optimistic = 2 * change - state["before"]
        state["before"].copy_(change)
        return state, optimistic

    step = Rule.step


@dataclass
class AdaBelief(Adam):
    """Adam that divides by how far the gradient strays from its running mean.

    Source: Zhuang et al. (2020), arXiv 2010.07468.
    """

    epsilon: float = 1e-16

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """η m̂ / (√ŝ + ε)."""
        t = state["step"].add_(1)
        m = state["m"].lerp_(dx, 1 - self.beta[0])
        s = state["v"].lerp_((dx - m).square(), 1 - self.beta[1]).add_(self.epsilon)
        scale = (s / (1 - self.beta[1] ** t)).sqrt() + self.epsilon
        return state, self.eta * (m / (1 - self.beta[0] ** t)) / scale

    step = Rule.step


@dataclass
class AdaGrad(Rule):
    """Divides by the root of all squared gradients so far.

    Source: Duchi et al. (2011), JMLR 12:2121.
    """

    slots = ("sum",)
    eta: float = 0.1
    epsilon: float = 1e-8

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """η dx / (√Σ|dx|² + ε)."""
        return state, self.eta * dx / (state["sum"].add_(dx.square()).sqrt() + self.epsilon)


@dataclass
class AdaDelta(Rule):
    """Scales the gradient to the size of the recent steps; needs no learning rate.

    Source: Zeiler (2012), arXiv 1212.5701.
    """

    slots = ("gradients", "steps")
    rho: float = 0.9
    epsilon: float = 1e-6

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """dx √(E|Δ|² + ε) / √(E|dx|² + ε)."""
        square = state["gradients"].lerp_(dx.square(), 1 - self.rho)
        change = dx * ((state["steps"] + self.epsilon) / (square + self.epsilon)).sqrt()
        state["steps"].lerp_(change.square(), 1 - self.rho)
        return state, change


@dataclass
class Lion(Rule):
    """The sign of an interpolated momentum.

    Source: Chen et al. (2023), arXiv 2302.06675.
    """

    slots = ("m",)
    eta: float = 0.001
    beta: tuple[float, float] = (0.9, 0.99)

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """η sign(β₁ m + (1-β₁) dx)."""
        change = self.eta * torch.lerp(dx, state["m"], self.beta[0]).sign()
        state["m"].lerp_(dx, 1 - self.beta[1])
        return state, change


@dataclass
class WeightDecay(Rule):
    """Adds decay · x to the gradient: the gradient of decay/2 · |x|²."""

    decay: float = 5e-4

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """dx + decay · x."""
        return state, dx + self.decay * x


@dataclass
class SignDecay(Rule):
    """Adds decay · sign(x) to the gradient: the gradient of decay · ‖x‖₁."""

    decay: float = 1e-3

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """dx + decay · sign(x)."""
        return state, dx + self.decay * x.sign()


@dataclass
class ClipGrad(Rule):
    """Clips each number of the gradient to [-limit, limit]."""

    limit: float = 10.0

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """The clipped gradient."""
        return state, dx.clamp(-self.limit, self.limit)


@dataclass
class ClipNorm(Rule):
    """Scales the gradient of each array down to a p-norm of at most `limit`.

    Raises:
        ValueError: the norm is NaN or infinite (`throw=False` lets it pass).
    """

    limit: float = 10.0
    p: float = 2.0
    throw: bool = True

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor]:
        """The scaled gradient."""
        norm = torch.linalg.vector_norm(dx, self.p)
        if self.throw and not torch.compiler.is_compiling() and not torch.isfinite(norm):
            raise ValueError(f"the gradient of a parameter of shape {tuple(x.shape)} has norm {norm.item()}")
        return state, dx * (self.limit / norm).clamp_max(1)


@dataclass
class AccumGrad(Rule):
    """Lets the mean of every `n` gradients through, and nothing in between; first in an `OptimiserChain`."""

    n: int = 2

    def init(self, x: Tensor) -> State:
        """The sum of the gradients, and how many there are."""
        return {"sum": torch.zeros_like(x), "count": torch.zeros((), dtype=torch.int64)}

    def apply(self, state: State, x: Tensor, dx: Tensor) -> tuple[State, Tensor | None]:
        """The mean, every n-th time."""
        state["sum"].add_(dx, alpha=1 / self.n)
        if state["count"].add_(1) < self.n:
            return state, None
        mean = state["sum"].clone()
        state["sum"].zero_()
        state["count"].zero_()
        return state, mean
