"""The slopes for the native route: functions of numbers."""

from torchflux_zygote import native


@native
def lotka_volterra(t, y, p):
    """Predators and prey."""
    x, z = y[0], y[1]
    return p[0] * x - p[1] * x * z, -p[2] * z + p[3] * x * z


@native
def van_der_pol(t, y, mu):
    """An oscillator with its stiffness."""
    x, v = y[0], y[1]
    return v, mu * (1 - x * x) * v - x
