"""Models of a map in continuous time, one a file, and the closures of the rod."""

from rodflow.flows.central import CentralFlow as CentralFlow
from rodflow.flows.central import CentralState as CentralState
from rodflow.flows.covariance import CovarianceRod as CovarianceRod
from rodflow.flows.covariance import CovarianceRodState as CovarianceRodState
from rodflow.flows.edge import EdgeFlow as EdgeFlow
from rodflow.flows.edge import EdgeState as EdgeState
from rodflow.flows.flow import AbstractFlow as AbstractFlow
from rodflow.flows.free_energy import FreeEnergyFlow as FreeEnergyFlow
from rodflow.flows.free_energy import FreeEnergyState as FreeEnergyState
from rodflow.flows.rod import AbstractClosure as AbstractClosure
from rodflow.flows.rod import RodFlow as RodFlow
from rodflow.flows.rod import SignedRod as SignedRod
from rodflow.flows.rod import SignedRodState as SignedRodState
from rodflow.flows.stable import StableFlow as StableFlow
from rodflow.flows.stochastic import MinibatchField as MinibatchField
from rodflow.flows.stochastic import StochasticRod as StochasticRod
