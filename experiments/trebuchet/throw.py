"""A trebuchet with a hinged counterweight and a sling, and the flight of what it throws.

The arm is a rod on a pivot; from its short end hangs the counterweight, from its long end the sling with the
projectile. Their angles θ, φ and ψ are those of rod, hanger and sling to the vertical below, counterclockwise. With
d(α) = (sin α, -cos α), seen from the pivot, the counterweight is at -S d(θ) + W d(φ) and the projectile at
L d(θ) + R d(ψ). So the Lagrangian T - V is

    ½ Jθ θ'² + ½ Jφ φ'² + ½ Jψ ψ'² + B θ'φ' + C θ'ψ' + g (mₐc + mL - MS) cos θ + g M W cos φ + g m R cos ψ
    Jθ = I + M S² + m L²    Jφ = M W² + Iw    Jψ = m R²    B = -M S W cos(θ - φ)    C = m L R cos(θ - ψ)

(M counterweight, m projectile, mₐ arm with its centre at c d(θ) and the moment I about the pivot, Iw the
counterweight's own). Each throw has three phases, which end with an event:

    slide    the projectile lies in a trough: L cos θ + R cos ψ = h, kept up by a force N; until N = 0
    swing    N = 0; until the velocity points in the direction of release
    flight   drag against the moving air, quadratic in the speed; until it meets the ground
"""

import math
from typing import Any, NamedTuple

import torch

from torchflux_diffeq import Event, SaveAt, per_sample, solve

# The machine of Trebuchet.jl: feet and pounds there, metres and kilograms here.

FOOT, POUND, g = 0.3048, 0.45359237, 9.80665
h, L, S, W, R = 5 * FOOT, 6.792 * FOOT, 1.75 * FOOT, 2 * FOOT, 6.833 * FOOT
m, m_arm = 0.328 * POUND, 10.65 * POUND
c = (L - S) / 2
I = m_arm * (L + S) ** 2 / 12 + m_arm * c**2
I_w = 1.0 * POUND * FOOT**2
DRAG = math.pi * (0.1245 * FOOT) ** 2 / 2 / m  # per metre, for air of 1 kg/m³ and a drag coefficient of 1
REST = -math.acos(h / L), 0.0, math.pi / 2, 0.0, 0.0, 0.0  # the arm's long end and the sling lie on the ground


class Aim(NamedTuple):
    """What a throw depends on, of n throws: angle of release (radians), counterweight (kg), tail wind (m/s), (n,)."""

    angle: Any
    mass: Any
    wind: Any


def coefficients(θ, φ, ψ, M):
    """The mass matrix of the Lagrangian: Jθ, Jφ, Jψ, B, C; shapes (n,) or numbers."""
    return I + M * S**2 + m * L**2, M * W**2 + I_w, m * R**2, -M * S * W * (θ - φ).cos(), m * L * R * (θ - ψ).cos()


def forces(θ, φ, ψ, dθ, dφ, dψ, M):
    """The right-hand sides of the Euler-Lagrange equations: Jθ θ" + B φ" + C ψ" and so on."""
    b, c_ = -M * S * W * (θ - φ).sin(), m * L * R * (θ - ψ).sin()
    return (
        -b * dφ**2 - c_ * dψ**2 - g * (m_arm * c + m * L - M * S) * θ.sin(),
        b * dθ**2 - g * M * W * φ.sin(),
        c_ * dθ**2 - g * m * R * ψ.sin(),
    )


def swing(t, u, aim):
    """Slopes of θ, φ, ψ and their rates, (n, 6), with nothing under the projectile."""
    θ, φ, ψ, *rates = u.unbind(-1)
    Jθ, Jφ, Jψ, B, C = coefficients(θ, φ, ψ, aim.mass)
    fθ, fφ, fψ = forces(θ, φ, ψ, *rates, aim.mass)
    ddθ = (fθ - B * fφ / Jφ - C * fψ / Jψ) / (Jθ - B**2 / Jφ - C**2 / Jψ)
    return torch.stack([*rates, ddθ, (fφ - B * ddθ) / Jφ, (fψ - C * ddθ) / Jψ], -1)


def sliding(u, M):
    """The same with the projectile in the trough, where ψ' = -k θ'; and the force N that keeps it there, (n,)."""
    θ, φ, ψ, *rates = u.unbind(-1)
    Jθ, Jφ, Jψ, B, C = coefficients(θ, φ, ψ, M)
    fθ, fφ, fψ = forces(θ, φ, ψ, *rates, M)
    k = L * θ.sin() / (R * ψ.sin())
    q = (L * θ.cos() * rates[0] ** 2 + R * ψ.cos() * rates[2] ** 2) / (R * ψ.sin())  # ψ" = -k θ" - q
    ddθ = (fθ - B * fφ / Jφ - k * fψ + (C - k * Jψ) * q) / (Jθ - B**2 / Jφ - 2 * k * C + k**2 * Jψ)
    ddψ = -k * ddθ - q
    N = (C * ddθ + Jψ * ddψ - fψ) / (R * ψ.sin())
    return torch.stack([*rates, ddθ, (fφ - B * ddθ) / Jφ, ddψ], -1), N


def slide(t, u, aim):
    """Slopes as long as it lies in the trough, (n, 6)."""
    return sliding(u, aim.mass)[0]


def flight(t, u, aim):
    """Slopes of place and velocity, (n, 4)."""
    dx, dy = u[..., 2], u[..., 3]
    air = dx - aim.wind
    drag = DRAG * torch.sqrt(air**2 + dy**2)
    return torch.stack([dx, dy, -drag * air, -g - drag * dy], -1)


def projectile(u):
    """Place and velocity of the projectile in the sling, from the ground below the pivot, (n, 4)."""
    θ, _, ψ, dθ, _, dψ = u.unbind(-1)
    place = L * θ.sin() + R * ψ.sin(), h - L * θ.cos() - R * ψ.cos()
    return torch.stack([*place, L * θ.cos() * dθ + R * ψ.cos() * dψ, L * θ.sin() * dθ + R * ψ.sin() * dψ], -1)


def energy(u, M):
    """Kinetic and potential energy of the machine with its load, (n,)."""
    θ, φ, ψ, dθ, dφ, dψ = u.unbind(-1)
    Jθ, Jφ, Jψ, B, C = coefficients(θ, φ, ψ, M)
    kinetic = (Jθ * dθ**2 + Jφ * dφ**2 + Jψ * dψ**2) / 2 + B * dθ * dφ + C * dθ * dψ
    return kinetic - g * ((m_arm * c + m * L - M * S) * θ.cos() + M * W * φ.cos() + m * R * ψ.cos())


# The phases: state (n, 6) or (n, 4) until the event that ends each.


def lift(t, u, aim):
    """The force of the trough on the projectile, downward: positive once it would have to pull."""
    return -sliding(u, aim.mass)[1]


def release(t, u, aim):
    """The velocity's part across the direction of release, into which it turns from above."""
    _, _, dx, dy = projectile(u).unbind(-1)
    return dx * aim.angle.sin() - dy * aim.angle.cos()


def ground(t, u, aim):
    return -u[:, 1]


def until(event, slope, u, aim, longest, **settings):
    """The solution up to the time at which event(t, u, aim) rises to zero; `longest` has to suffice."""
    end = Event(event, direction=1)
    found = solve(slope, u, (0.0, longest), Aim(*map(per_sample, aim)), events=end, batched=True, **settings)
    if late := (found.t >= longest).nonzero().flatten().tolist():
        raise ValueError(f"throws {late[:8]} have not come to the end of a phase within {longest:g} s: {aim}")
    return found


def throw(aim, **settings):
    """The solutions of the three phases, with settings of `solve`."""
    rest = torch.tensor([REST], dtype=aim.mass.dtype).expand(len(aim.mass), 6)
    lifted = until(lift, slide, rest, aim, 2.0, **settings)
    released = until(release, swing, lifted.y, aim, 2.0, **settings)
    return lifted, released, until(ground, flight, projectile(released.y), aim, 30.0, **settings)


def distance(aim, controller=None):
    """How far the projectile lands from below the pivot, in metres, (n,)."""
    return throw(aim, controller=controller)[-1].y[:, 0]


def motion(aim, points=60):
    """The states at `points` times, evenly spaced in each phase: two of (points, n, 6), and (points, n, 4)."""
    parts = torch.linspace(0.0, 1.0, points, dtype=aim.mass.dtype)[:, None]
    return [phase.evaluate(parts * phase.t) for phase in throw(aim, saveat=SaveAt(dense=True))]
