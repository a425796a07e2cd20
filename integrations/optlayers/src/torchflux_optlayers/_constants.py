"""The numbers of the method, for both routes."""

RHO, DELTA = 1e-8, 1e-7
"""The proximal terms of x and of the forces. Steps are refined, so they change how fast, not what is found."""
ROUNDS, SMALL = 20, 1e-16
"""How often a solution is refined at most, and the relative residual that is enough: rounding, as an error is what the
least eigenvalue makes of it."""
SLOW, ROUNDING, MORE = 0.3, 1e-13, 40
"""What a round may leave of the residual, from the fourth on. If it is more, and not rounding only, minimal residuals
take over, for so many rounds at most."""
GAIN, NOTHING = 1e-3, 1e-6
"""The share of the squared residual that such a round has to take away; the image of a correction, in relation to the
residual that it is for, up to which the system counts as singular along it."""
EXACT, SIGN, WEAK, FLOOR = 1e-11, 1e-10, 1e-9, 1e-3
"""The residual of an exact solution; what may be missing to a sign; up to where a force counts as none; the share of
the strongest force that the others are measured against."""
SINGULAR = 1e-6
"""The residual from which on a reduced system has no solution: the minimiser isn't unique."""
SECOND_GUESS, NEXT_GUESS = 1e-2, 0.1
"""The active rows are guessed at the start, when the merit is this, and whenever it has fallen by so much again."""
FURTHER = 0.5
"""From a point within the tolerance it goes on while the merit falls by so much, as the exact solution is often near,
or while x still moves by more than the root of the tolerance: then x isn't known as well as the residuals are small."""
CORRECTIONS = 8
"""How often a guess is corrected at most."""
NEAR = 1e-2
"""A warm start's distance from the boundary, as `s z`."""
CERTAIN = 1e-9
"""How exact a proof has to be that a program has no solution."""
STEP, STALLED = 0.99, 1e-9
"""The share of the way to the boundary that is gone; the step that is none."""
CENTRED = 0.5
"""How much of the products s z is kept by a step that replaces one after which they would be larger."""
PASSES, SHORT = 4, 1e-4
"""Of the equilibration; how much shorter than the way to the minimiser without constraints the unit of x may be."""
INDEFINITE = 1e-9
"""How negative an eigenvalue of Q may be, by rounding."""
