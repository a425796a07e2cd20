"""The non-stiff DETEST problems A1 to F5, each from t = 0 to 20, with the published solutions at the end.

Source: Hull, Enright, Fellen & Sedgwick (1972), doi:10.1137/0709052; end values: Enright & Pryce (1987), ACM Algorithm
648 (NSDTST), doi:10.1145/23002.27645.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Problem(NamedTuple):
    """A slope `f(t, y, args)`, the state at 0, the one at 20, and the times at which the slope isn't smooth."""

    f: object
    start: Tensor
    end: Tensor
    jumps: tuple[float, ...] | None = None


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def predator_prey(t, y, args):
    d = y[0] - y[0] * y[1]
    return torch.stack((2 * d, -(y[1] - y[0] * y[1])))


def reaction(t, y, args):
    """A linear chemical reaction."""
    a, c = y[1] - y[0], y[1] - y[2]
    return torch.stack((a, -a - c, c))


def quadratic_reaction(t, y, args):
    d = y[1] ** 2
    return torch.stack((-y[0], y[0] - d, d))


def torus(t, y, args):
    """The integral surface of a torus."""
    d = torch.hypot(y[0], y[1])
    return torch.stack((-y[1] - y[0] * y[2] / d, y[0] - y[1] * y[2] / d, y[0] / d))


def rigid_body(t, y, args):
    """Euler's equations without external forces."""
    return torch.stack((y[1] * y[2], -y[0] * y[2], -0.51 * y[0] * y[1]))


def decay(rates):
    """A radioactive chain: what the first nine lose, the following one gains."""
    flows = lambda y: rates * y[:-1]
    return lambda t, y, args: torch.cat((-flows(y)[:1], -flows(y).diff(), flows(y)[-1:]))


def diffusion(t, y, args):
    """The second differences, with zeros beside the ends."""
    padded = torch.nn.functional.pad(y, (1, 1))
    return padded[:-2] - 2 * y + padded[2:]


SUN = 1.00000597682
MASSES = vector(0.954786104043e-3, 0.285583733151e-3, 0.437273164546e-4, 0.517759138449e-4, 0.277777777778e-5)
GRAVITY = 2.95912208286


def five_planets(t, y, args):
    """The outer planets around the sun: positions, then velocities."""
    x, v = y[:15].view(5, 3), y[15:]
    cube = x.norm(dim=1) ** 3
    apart = x - x[:, None]  # from the row's planet to the column's
    cubes = apart.square().sum(-1).add(torch.eye(5, dtype=y.dtype)) ** 1.5
    pulls = MASSES[:, None] * (apart / cubes[..., None] - (x / cube[:, None]))
    others = pulls.masked_fill(torch.eye(5, dtype=torch.bool)[..., None], 0.0).sum(1)
    return torch.cat((v, (GRAVITY * (others - (SUN + MASSES[:, None]) * x / cube[:, None])).flatten()))


def orbit(t, y, args):
    d = torch.hypot(y[0], y[1]) ** 3
    return torch.stack((y[2], y[3], -y[0] / d, -y[1] / d))


def orbiting(eccentricity, *end):
    e = eccentricity
    return Problem(orbit, vector(1 - e, 0.0, 0.0, math.sqrt((1 + e) / (1 - e))), vector(*end))


def bessel(t, y, args):
    return torch.stack((y[1], -(y[1] / (t + 1) + (1 - 0.25 / (t + 1) ** 2) * y[0])))


def van_der_pol(t, y, args):
    return torch.stack((y[1], (1 - y[0] ** 2) * y[1] - y[0]))


def duffing(t, y, args):
    return torch.stack((y[1], y[0] ** 3 / 6 - y[0] + 2 * torch.sin(2.78535 * t)))


def falling(t, y, args):
    return torch.stack((y[1], 0.032 - 0.4 * y[1] ** 2))


def pursuit(t, y, args):
    return torch.stack((y[1], torch.sqrt(1 + y[1] ** 2) / (25 - t)))


def even(t):
    """Whether the last whole number was even."""
    return t.floor() % 2 == 0


def pushed(t, y, push):
    """An oscillator that gains energy, pushed by a force."""
    return torch.stack((y[1], 0.2 * y[1] - (math.pi**2 + 0.01) * y[0] + push))


def rectified(t, y, args):
    return torch.stack((y[1], 0.01 * y[1] * (1 - y[0] ** 2) - y[0] - torch.sin(math.pi * t).abs()))


def bump(t, y, args):
    early = -2 / 21 - 120 * (t - 5) / (1 + 4 * (t - 5) ** 2) ** 16
    return torch.where(t <= 10, early, -2 * y)


def cube_roots(t, y, args):
    """Its derivative by the time is infinite at each of them."""
    total = sum(i ** (4 / 3) for i in range(1, 20))
    past = t - torch.arange(1.0, 20.0, dtype=y.dtype)
    return 4 / (3 * total) * (past.sign() * past.abs() ** (1 / 3)).sum() * y


TEN = torch.zeros(10, dtype=torch.float64)
TEN[0] = 1.0
FIFTY_ONE = torch.zeros(51, dtype=torch.float64)
FIFTY_ONE[0] = 1.0
PLANETS = vector(
    3.42947415189, 3.35386959711, 1.35494901715, 6.64145542550, 5.97156957878, 2.18231499728,
    11.2630437207, 14.6952576794, 6.27960525067, -30.1552268759, 1.65699966404, 1.43785752721,
    -21.1238353380, 28.4465098142, 15.3882659679, -0.557160570446, 0.505696783289, 0.230578543901,
    -0.415570776342, 0.365682722812, 0.169143213293, -0.325325669158, 0.189706021964, 0.0877265322780,
    -0.0240476254170, -0.287659532608, -0.117219543175, -0.176860753121, -0.216393453025, -0.0148647893090,
)  # fmt: skip
PLANETS_END = vector(
    -4.792730224323733, -2.420550725448973, -0.9212509306014886, -4.217310404035213, 7.356202947498970,
    3.223785985421212, 4.035559443262270, 17.19865528670555, 7.478910794233703, -29.98759326324844,
    -4.107310937550929, -0.9277008321754407, -24.42125302518482, 23.81459045746554, 14.92096306951359,
    0.3499208963063806, -0.5748487687912825, -0.2551694020879149, -0.5237040978903326, -0.2493000463579661,
    -0.08045341642044464, -0.3875289237334110, 0.05648603288767891, 0.03023606472143342, 0.04133856546712445,
    -0.2862393029841379, -0.1183032405136207, -0.1511986457359206, -0.2460068894318766, -0.03189687411323877,
)  # fmt: skip
C1_END = vector(
    2.061153622240064e-09, 4.122307244619555e-08, 4.122307244716968e-07, 2.748204829855288e-06, 1.374102414941961e-05,
    5.496409659803266e-05, 1.832136553274552e-04, 5.234675866508716e-04, 1.308668966628220e-03, 9.979127409508656e-01,
)  # fmt: skip
C2_END = vector(
    2.061153577984930e-09, 2.061153573736588e-09, 2.061153569488245e-09, 2.061153565239902e-09, 2.061153560991560e-09,
    2.061153556743217e-09, 2.061153552494874e-09, 2.061153548246532e-09, 2.061153543998189e-09, 9.999999814496180e-01,
)  # fmt: skip
C3_END = vector(
    2.948119211022058e-03, 5.635380154844266e-03, 7.829072515926013e-03, 9.348257908594937e-03, 1.007943610301970e-02,
    9.982674171429909e-03, 9.088693332766085e-03, 7.489115195185912e-03, 5.322964130953349e-03, 2.762434379029886e-03,
)  # fmt: skip
C4_END = vector(  # the first ten of 51
    3.124111453721466e-03, 6.015416842150318e-03, 8.470021834842650e-03, 1.033682931733337e-02, 1.153249572873923e-02,
    1.204549525737964e-02, 1.192957068015293e-02, 1.128883207111195e-02, 1.025804501391024e-02, 8.982017581934167e-03,
)  # fmt: skip
ONES, COUNTING = torch.ones(9, dtype=torch.float64), torch.arange(1.0, 10.0, dtype=torch.float64)
HALF_BESSEL = math.sqrt(2 / math.pi)  # the Bessel function of order 1/2 is elementary

PROBLEMS = {
    "A1": Problem(lambda t, y, args: -y, vector(1.0), vector(2.061153353012535e-09)),
    "A2": Problem(lambda t, y, args: -0.5 * y**3, vector(1.0), vector(2.182178902359887e-01)),
    "A3": Problem(lambda t, y, args: y * torch.cos(t), vector(1.0), vector(2.491650271850414)),
    "A4": Problem(lambda t, y, args: (1 - y / 20) * y / 4, vector(1.0), vector(17.73016648131483)),
    "A5": Problem(lambda t, y, args: (y - t) / (y + t), vector(4.0), vector(-0.7887826688964196)),
    "B1": Problem(predator_prey, vector(1.0, 3.0), vector(0.6761876008576667, 0.1860816099640036)),
    "B2": Problem(reaction, vector(2.0, 0.0, 1.0), vector(1.000000001030576, 1.0, 0.9999999989694235)),
    "B3": Problem(
        quadratic_reaction,
        vector(1.0, 0.0, 0.0),
        vector(2.061153488557776e-09, 5.257228022048349e-02, 9.474277177183630e-01),
    ),
    "B4": Problem(torus, vector(3.0, 0.0, 0.0), vector(0.9826950928005993, 2.198447081694832, 0.9129452507276399)),
    "B5": Problem(
        rigid_body, vector(0.0, 1.0, 1.0), vector(-0.9396570798729192, -0.3421177754000779, 0.7414126596199957)
    ),
    "C1": Problem(decay(ONES), TEN, C1_END),
    "C2": Problem(decay(COUNTING), TEN, C2_END),
    "C3": Problem(diffusion, TEN, C3_END),
    "C4": Problem(diffusion, FIFTY_ONE, C4_END),
    "C5": Problem(five_planets, PLANETS, PLANETS_END),
    "D1": orbiting(0.1, 0.2198835352008397, 0.9427076846341813, -0.9787659841058176, 0.3287977990962036),
    "D2": orbiting(0.3, -0.1777027357140412, 0.9467784719905892, -1.030294163192969, 0.1211074890053952),
    "D3": orbiting(0.5, -0.5780432953035361, 0.8633840009194193, -0.9595083730380727, -0.06504915126712089),
    "D4": orbiting(0.7, -0.9538990293416394, 0.6907409024219432, -0.8212674270877433, -0.1539574259125825),
    "D5": orbiting(0.9, -1.295266250987574, 0.4003938963792321, -0.6775390924707566, -0.1270838154278686),
    "E1": Problem(
        bessel,
        HALF_BESSEL * vector(0.84147098480789651, 0.11956681346419146),
        vector(0.1456723600728308, -0.09883500195574063),
    ),
    "E2": Problem(van_der_pol, vector(2.0, 0.0), vector(2.008149762174948, -0.04250887527320057)),
    "E3": Problem(duffing, vector(0.0, 0.0), vector(-0.1004178858647128, 0.2411400132095954)),
    "E4": Problem(falling, vector(30.0, 0.0), vector(33.95091444646555, 0.2767822659672869)),
    "E5": Problem(pursuit, vector(0.0, 0.0), vector(14.11797390542629, 2.400000000000002)),
}

WHOLE = tuple(float(t) for t in range(1, 20))
NOT_SMOOTH = {
    "F1": Problem(
        lambda t, y, args: pushed(t, y, torch.where(even(t), 1.0, -1.0)),
        vector(0.0, 0.0),
        vector(-12.94460621213470, -2.208575158908672e-15),
        WHOLE,
    ),
    "F2": Problem(
        lambda t, y, args: 55 - torch.where(even(t), 1.5, 0.5) * y, vector(110.0), vector(70.03731057008607), WHOLE
    ),
    "F3": Problem(rectified, vector(0.0, 0.0), vector(-0.3726957553088175, -0.6230137949234190), WHOLE),
    "F4": Problem(bump, vector(1.0), vector(9.815017249707434e-11), (10.0,)),
    "F5": Problem(cube_roots, vector(1.0), vector(1.0), WHOLE),
}
