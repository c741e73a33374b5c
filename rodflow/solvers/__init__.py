"""Diffrax solvers that step from the increments of a map, and how flows are solved."""

from rodflow.solvers._map_solver import AbstractLookback as AbstractLookback
from rodflow.solvers._map_solver import AbstractMapSolver as AbstractMapSolver
from rodflow.solvers._map_solver import check_solver as check_solver
from rodflow.solvers.held import Held as Held
from rodflow.solvers.integrator import Integrator as Integrator
from rodflow.solvers.integrator import work_per_step as work_per_step
from rodflow.solvers.lookback import LookbackEuler as LookbackEuler
from rodflow.solvers.lookback import OneLegLookback as OneLegLookback
from rodflow.solvers.multistep import Memory as Memory
from rodflow.solvers.multistep import MultistepLookback as MultistepLookback
from rodflow.solvers.noisy_term import AbstractNoisyField as AbstractNoisyField
from rodflow.solvers.noisy_term import Interval as Interval
from rodflow.solvers.noisy_term import NoisyTerm as NoisyTerm
