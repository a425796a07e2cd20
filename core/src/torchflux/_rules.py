"""The catalogue of optimiser rules.

Each is the paper's algorithm as Optimisers.jl states it; `eta` is the learning rate. The ones that PyTorch has a
fused kernel for use it.
"""

from dataclasses import dataclass
from inspect import getfullargspec
from typing import Any

import torch
from torch import Tensor

from ._optimise import Leaf, Rule

__all__ = ["AdaDelta", "AdaGrad", "Descent", "Lion", "Momentum", "Nesterov", "RMSProp", "Rprop"]
__all__ += ["AMSGrad", "AdaBelief", "AdaMax", "Adam", "AdamW", "NAdam", "OAdam", "RAdam"]
__all__ += ["AccumGrad", "ClipGrad", "ClipNorm", "SignDecay", "WeightDecay"]


class Formula(Rule):
    """A rule that is one formula: `change(x, dx, **state)` says what to subtract, and moves the state on in place.

    The hyper-parameters and their defaults stand behind the name of the base, `class Descent(Formula, eta=0.1)`; they
    are the fields of a dataclass. The state starts as zeros, for each parameter that `change` has besides `x` and `dx`.
    """

    def __init_subclass__(cls, **hyper: Any) -> None:
        cls.__annotations__ = {name: type(value) for name, value in hyper.items()}
        for name, value in hyper.items():
            setattr(cls, name, value)
        if "change" in vars(cls):
            cls.slots = tuple(getfullargspec(vars(cls)["change"]).args[3:])
        dataclass(cls)

    def apply(self: Any, state: Any, x: Tensor, dx: Tensor) -> tuple[Any, Tensor | None]:
        """The state, moved on, and what to subtract from `x`."""
        return state, self.change(x, dx, **state)


class Descent(Formula, eta=0.1):
    """Gradient descent: x ← x - η dx."""

    def change(self: Any, x: Tensor, dx: Tensor) -> Tensor:
        """η dx."""
        return dx * self.eta

    def step(self: Any, leaves: list[Leaf], xs: list[Tensor], dxs: list[Tensor]) -> None:
        """All parameters at once."""
        torch._foreach_add_(xs, dxs, alpha=-self.eta)


class Momentum(Formula, eta=0.01, rho=0.9):
    """Gradient descent with momentum: v ← ρ v + η dx, x ← x - v.

    Source: Polyak (1964), doi:10.1016/0041-5553(64)90137-5.
    """

    def change(self: Any, x: Tensor, dx: Tensor, v: Tensor) -> Tensor:
        """The new velocity."""
        return v.mul_(self.rho).add_(dx, alpha=self.eta).clone()  # a later rule may change what it is given


class Nesterov(Momentum, eta=0.001):
    """Nesterov's momentum, with the look-ahead folded into the step.

    Source: Sutskever et al. (2013), PMLR 28(3):1139.
    """

    def change(self: Any, x: Tensor, dx: Tensor, v: Tensor) -> Tensor:
        """ρ v' + η dx, with v' = ρ v + η dx."""
        return self.rho * super().change(x, dx, v) + self.eta * dx


class RMSProp(Formula, eta=0.001, rho=0.9, epsilon=1e-8, centred=False):
    """Divides by a running root mean square of the gradient; `centred` subtracts the running mean first.

    Source: Tieleman & Hinton (2012), Coursera lecture 6e; centred: Graves (2013), arXiv 1308.0850.
    """

    def change(self: Any, x: Tensor, dx: Tensor, square: Tensor, mean: Tensor) -> Tensor:
        """η dx / (√(E dx² - (E dx)²) + ε)."""
        variance = square.lerp_(dx.square(), 1 - self.rho)
        if self.centred:
            variance = (variance - mean.lerp_(dx, 1 - self.rho).square()).clamp_min(0)
        return self.eta * dx / (variance.sqrt() + self.epsilon)


class Rprop(Formula, eta=0.001, factors=(0.5, 1.2), limits=(1e-6, 50.0)):
    """Steps that know only the gradient's sign: longer while it stays, shorter when it changes.

    Source: Riedmiller & Braun (1993), doi:10.1109/ICNN.1993.298623 (without weight backtracking).
    """

    def init(self: Any, x: Tensor) -> Any:
        """The gradient before, and the step lengths."""
        return {"before": torch.zeros_like(x), "length": torch.full_like(x, self.eta)}

    def change(self: Any, x: Tensor, dx: Tensor, before: Tensor, length: Tensor) -> Tensor:
        """length · sign(dx), and nothing just after a change of sign."""
        same, (shorter, longer) = (dx * before).sign(), self.factors
        before.copy_(torch.where(same < 0, 0.0, dx))
        length.copy_(torch.where(same > 0, length * longer, torch.where(same < 0, length * shorter, length)))
        return length.clamp_(*self.limits) * before.sign()


class Adaptive(Formula, eta=0.001, beta=(0.9, 0.999), epsilon=1e-8):
    """What Adam and its relatives share: two running moments and a count of steps."""

    def init(self: Any, x: Tensor) -> Any:
        """The moments and the number of steps."""
        return super().init(x) | {"step": torch.zeros((), device=x.device)}

    def change(self: Any, x: Tensor, dx: Tensor, m: Tensor, v: Tensor, step: Tensor, **more: Tensor) -> Tensor:
        """η times the direction, after the moments have taken in the gradient."""
        self.second(v, dx, m.lerp_(dx, 1 - self.beta[0]))
        return self.eta * self.direction(dx, m, v, step.add_(1).double(), **more)

    def second(self: Any, v: Tensor, dx: Tensor, m: Tensor) -> None:
        """Moves the second moment on: v ← β₂ v + (1-β₂) dx²."""
        v.lerp_(dx.square(), 1 - self.beta[1])

    def direction(self: Any, dx: Tensor, m: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """Adam's: m̂ / (√v̂ + ε)."""
        return m / (1 - self.beta[0] ** t) / self.root(v, t)

    def root(self: Any, v: Tensor, t: Tensor) -> Tensor:
        """√v̂ + ε."""
        return (v / (1 - self.beta[1] ** t)).sqrt() + self.epsilon


class Adam(Adaptive):
    """Adaptive moments.

    Source: Kingma & Ba (2015), arXiv 1412.6980.
    """

    decay, couple = 0.0, True  # no hyper-parameters of this rule

    def step(self: Any, leaves: list[Leaf], xs: list[Tensor], dxs: list[Tensor]) -> None:
        """All parameters at once, by PyTorch's fused kernel."""
        if torch.compiler.is_compiling() or not ((self.couple or self.eta) and all(x.is_contiguous() for x in xs)):
            super().step(leaves, xs, dxs)  # the compiler fuses the formula itself; the kernel takes no strides
            return
        m, v, vmax, t = ([leaf.state[k] for leaf in leaves if k in leaf.state] for k in ("m", "v", "vmax", "step"))
        torch._foreach_add_(t, 1)
        hyper: Any = {"lr": self.eta, "beta1": self.beta[0], "beta2": self.beta[1], "eps": self.epsilon}
        decay = self.decay / (1 if self.couple else self.eta)  # the kernel couples them
        kind: Any = {"weight_decay": decay, "amsgrad": bool(vmax), "maximize": False}
        torch._fused_adamw_(xs, [dx.contiguous() for dx in dxs], m, v, vmax, t, **hyper, **kind)


class AdamW(Adam, decay=0.01, couple=True):
    """Adam with decoupled weight decay: x also shrinks by η · decay · x, or by decay · x with `couple=False`.

    Coupled, the decay follows a schedule of η, as in PyTorch and Optimisers.jl; the paper has it apart.

    Source: Loshchilov & Hutter (2019), arXiv 1711.05101.
    """

    def change(self: Any, x: Tensor, dx: Tensor, m: Tensor, v: Tensor, step: Tensor, **more: Tensor) -> Tensor:
        """Adam's step and the decay."""
        return super().change(x, dx, m, v, step) + (self.eta if self.couple else 1) * self.decay * x


class AMSGrad(Adam):
    """Adam with the largest second moment seen so far (bias-corrected, as PyTorch has it).

    Source: Reddi et al. (2018), arXiv 1904.09237.
    """

    slots = ("m", "v", "vmax")

    def direction(self: Any, dx: Tensor, m: Tensor, v: Tensor, t: Tensor, vmax: Tensor) -> Tensor:  # type: ignore[override]
        """m̂ / (√v̂max + ε)."""
        return super().direction(dx, m, vmax.copy_(torch.maximum(vmax, v)), t)


class NAdam(Adaptive):
    """Adam with Nesterov's momentum (constant β₁, as in Optimisers.jl; PyTorch's has a schedule).

    Source: Dozat (2016), ICLR workshop, "Incorporating Nesterov momentum into Adam".
    """

    def direction(self: Any, dx: Tensor, m: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """(β₁ m/(1-β₁ᵗ⁺¹) + (1-β₁) dx/(1-β₁ᵗ)) / (√v̂ + ε)."""
        b1 = self.beta[0]
        return (b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * dx / (1 - b1**t)) / self.root(v, t)


class RAdam(Adaptive):
    """Adam that waits to divide by the second moment until its variance is known well enough.

    Source: Liu et al. (2020), arXiv 1908.03265.
    """

    def direction(self: Any, dx: Tensor, m: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """r m̂ / (√v̂ + ε), or m̂ in the first steps."""
        b1, b2 = self.beta
        limit = 2 / (1 - b2) - 1
        length = limit - 2 * t * b2**t / (1 - b2**t)
        r2 = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
        return m / (1 - b1**t) * torch.where(length > 5, r2.clamp_min(0).sqrt() / self.root(v, t), 1.0)


class AdaMax(Adaptive):
    """Adam with the infinity norm for its second moment.

    Source: Kingma & Ba (2015), arXiv 1412.6980, section 7.
    """

    def second(self: Any, v: Tensor, dx: Tensor, m: Tensor) -> None:
        """v ← max(β₂ v, |dx|)."""
        v.copy_(torch.maximum(v * self.beta[1], dx.abs()))

    def root(self: Any, v: Tensor, t: Tensor) -> Tensor:
        """v + ε."""
        return v + self.epsilon


class OAdam(Adaptive, beta=(0.5, 0.9)):
    """Optimistic Adam: twice this step minus the one before, for games and adversarial training.

    Source: Daskalakis et al. (2018), arXiv 1711.00141.
    """

    def change(self, x: Tensor, dx: Tensor, m: Tensor, v: Tensor, step: Tensor, before: Tensor) -> Tensor:  # type: ignore[override]
        """2 Δₜ - Δₜ₋₁."""
        now, last = super().change(x, dx, m, v, step), before.clone()
        before.copy_(now)
        return 2 * now - last


class AdaBelief(Adaptive, epsilon=1e-16):
    """Adam that divides by how far the gradient strays from its running mean.

    Source: Zhuang et al. (2020), arXiv 2010.07468.
    """

    def second(self: Any, v: Tensor, dx: Tensor, m: Tensor) -> None:
        """v ← β₂ v + (1-β₂) (dx - m)² + ε."""
        v.lerp_((dx - m).square(), 1 - self.beta[1]).add_(self.epsilon)


class AdaGrad(Formula, eta=0.1, epsilon=1e-8):
    """Divides by the root of all squared gradients so far.

    Source: Duchi et al. (2011), JMLR 12:2121.
    """

    def change(self: Any, x: Tensor, dx: Tensor, sum: Tensor) -> Tensor:
        """η dx / (√Σ dx² + ε)."""
        return self.eta * dx / (sum.add_(dx.square()).sqrt() + self.epsilon)


class AdaDelta(Formula, rho=0.9, epsilon=1e-6):
    """Scales the gradient to the size of the recent steps; needs no learning rate.

    Source: Zeiler (2012), arXiv 1212.5701.
    """

    def change(self: Any, x: Tensor, dx: Tensor, gradients: Tensor, steps: Tensor) -> Tensor:
        """dx √(E Δ² + ε) / √(E dx² + ε)."""
        gradients.lerp_(dx.square(), 1 - self.rho)
        change = dx * ((steps + self.epsilon) / (gradients + self.epsilon)).sqrt()
        steps.lerp_(change.square(), 1 - self.rho)
        return change


class Lion(Formula, eta=0.001, beta=(0.9, 0.99)):
    """The sign of an interpolated momentum.

    Source: Chen et al. (2023), arXiv 2302.06675.
    """

    def change(self: Any, x: Tensor, dx: Tensor, m: Tensor) -> Tensor:
        """η sign(β₁ m + (1-β₁) dx)."""
        change = self.eta * torch.lerp(dx, m, self.beta[0]).sign()
        m.lerp_(dx, 1 - self.beta[1])
        return change


class WeightDecay(Formula, decay=5e-4):
    """Adds decay · x to the gradient: the gradient of decay/2 · |x|²."""

    def change(self: Any, x: Tensor, dx: Tensor) -> Tensor:
        """dx + decay · x."""
        return dx + self.decay * x


class SignDecay(Formula, decay=1e-3):
    """Adds decay · sign(x) to the gradient: the gradient of decay · ‖x‖₁."""

    def change(self: Any, x: Tensor, dx: Tensor) -> Tensor:
        """dx + decay · sign(x)."""
        return dx + self.decay * x.sign()


class ClipGrad(Formula, limit=10.0):
    """Clips each number of the gradient to [-limit, limit]."""

    def change(self: Any, x: Tensor, dx: Tensor) -> Tensor:
        """The clipped gradient."""
        return dx.clamp(-self.limit, self.limit)


class ClipNorm(Formula, limit=10.0, p=2.0, throw=True):
    """Scales the gradient of each array down to a p-norm of at most `limit`.

    Raises:
        ValueError: the norm is NaN or infinite (`throw=False`, and a compiled step, let it pass).
    """

    def change(self: Any, x: Tensor, dx: Tensor) -> Tensor:
        """The scaled gradient."""
        norm = torch.linalg.vector_norm(dx, self.p) if dx.numel() else dx.sum()
        if self.throw and not torch.compiler.is_compiling() and not torch.isfinite(norm):
            raise ValueError(f"the gradient of a parameter of shape {tuple(x.shape)} has norm {norm.item()}")
        return dx * (self.limit / norm).clamp_max(1)


class AccumGrad(Formula, n=2):
    """Lets the mean of every `n` gradients through, and nothing in between; first in an `OptimiserChain`."""

    def init(self: Any, x: Tensor) -> Any:
        """The sum of the gradients, and how many there are."""
        return {"sum": torch.zeros_like(x), "count": torch.zeros((), dtype=torch.int64)}

    def apply(self: Any, state: Any, x: Tensor, dx: Tensor) -> tuple[Any, Tensor | None]:
        """The mean, every n-th time."""
        total = state["sum"].add_(dx, alpha=1 / self.n)
        if state["count"].add_(1) < self.n:
            return state, None
        return self.init(x), total
