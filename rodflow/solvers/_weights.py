"""Coefficients of the multistep solver.

*Coefficients.* `beta` minimizes the largest B(theta) sin(K theta)^2, the error of the variance of
modes on the unit circle, under B >= 0, B(0) = 0 and beta_0 + ... + beta_j >= 0, by which second
moments stay positive: a linear program. The weight is that of the rod, in which the centre carries
cos(K theta / 2)^2 of a mode. `gamma` then minimizes the largest error of the variance of a mode in
centre and rod together over |mu| <= .99 at all angles. As it enters by its power, that is a linear
program for its autocorrelation, of which gamma is the minimum phase factor. K = 1 is the split map.

*A noisy drift.* Where W itself comes from draws, they are held for a step of the map, K steps of
the solver: its noise is then averaged over them, and what it has at angles beyond pi / K is small.
The response to held draws is

    sum over the K angles theta + 2 pi m / K of gamma(1/r) u(1/r) / (r - 1 - (mu - 1) beta(1/r)) / K

with u = 1 + 1/r + ... + r^(1-K); `held` are the coefficients that minimize the same error, by least
squares, scaled down by the variance that is in the drift already.
"""

from typing import NamedTuple


class Weights(NamedTuple):
    """Coefficients of a step, of the newest sample first.

    Attributes:
        slopes: beta_j, which sum to the step.
        noise: gamma_j for independent draws in every step.
        held: gamma_j for draws that are held for a step of the map.
        white: The variance, in centre and rod together, that held draws have in the drift already,
            in units of the variance of a sample of the drift.
    """

    slopes: tuple[float, ...]
    noise: tuple[float, ...]
    held: tuple[float, ...]
    white: float


WEIGHTS = {
    1: Weights((1.0, 0.0), (0.5, 0.5), (0.5, 0.5), 2.0),
    2: Weights(
        (0.0633225, 0.7245796, -0.425698, 0.1814862, -0.0508093, 0.007119),
        (0.1671858, 0.1885977, 0.2367732, 0.1192626, 0.0640222, -0.0687305),
        (0.169253, 0.1458453, 0.1758691, 0.0158868, 0.0315742, -0.0436153),
        1.5,
    ),
    4: Weights(
        (
            0.0,
            0.0,
            0.1111123,
            0.6458785,
            -0.7220943,
            0.1453951,
            0.0371068,
            0.1795319,
            -0.2380478,
            0.1096152,
            -0.0184977,
        ),
        (
            0.0728892,
            0.0657116,
            0.06988,
            0.0660654,
            0.0944594,
            0.0715943,
            0.0354694,
            0.0439252,
            0.0237023,
            0.0025482,
            -0.0462334,
        ),
        (),
        0.0,
    ),
}
