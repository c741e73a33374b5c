"""rodflow: continuous-time models of optimizers at the edge of stability.

One unit of flow time is one optimizer step.
"""

from rodflow.curvature.batch import batch_sharpness as batch_sharpness
from rodflow.curvature.batch import generalized_batch_sharpness as generalized_batch_sharpness
from rodflow.curvature.edge import Edge as Edge
from rodflow.curvature.edge import edge as edge
from rodflow.curvature.fluctuation import FluctuationMeter as FluctuationMeter
from rodflow.curvature.realized import EdgeFactors as EdgeFactors
from rodflow.curvature.realized import directional_sharpness as directional_sharpness
from rodflow.curvature.realized import edge_factors as edge_factors
from rodflow.curvature.realized import realized_edge as realized_edge
from rodflow.curvature.realized import secant_sharpness as secant_sharpness
from rodflow.curvature.response import nyquist_response as nyquist_response
from rodflow.curvature.sharpness import effective_sharpness as effective_sharpness
from rodflow.curvature.sharpness import sharpness as sharpness
from rodflow.flows.central import CentralFlow as CentralFlow
from rodflow.flows.covariance import CovarianceRod as CovarianceRod
from rodflow.flows.edge import EdgeFlow as EdgeFlow
from rodflow.flows.flow import AbstractFlow as AbstractFlow
from rodflow.flows.free_energy import FreeEnergyFlow as FreeEnergyFlow
from rodflow.flows.rod import AbstractClosure as AbstractClosure
from rodflow.flows.rod import RodFlow as RodFlow
from rodflow.flows.rod import SignedRod as SignedRod
from rodflow.flows.stable import StableFlow as StableFlow
from rodflow.flows.stochastic import StochasticRod as StochasticRod
from rodflow.maps.epoch import Epoch as Epoch
from rodflow.maps.iteration import AbstractIteration as AbstractIteration
from rodflow.maps.iteration import Iteration as Iteration
from rodflow.maps.iteration import PhaseState as PhaseState
from rodflow.maps.minibatch_iteration import MinibatchIteration as MinibatchIteration
from rodflow.maps.minibatches import Minibatches as Minibatches
from rodflow.maps.parity import Parity as Parity
from rodflow.solvers.held import Held as Held
from rodflow.solvers.integrator import Integrator as Integrator
from rodflow.solvers.lookback import LookbackEuler as LookbackEuler
from rodflow.solvers.lookback import OneLegLookback as OneLegLookback
from rodflow.solvers.multistep import MultistepLookback as MultistepLookback
from rodflow.sweep import sweep as sweep
from rodflow.term import FlowTerm as FlowTerm
from rodflow.tracking.ensemble import Ensemble as Ensemble
from rodflow.tracking.ensemble import Observables as Observables
from rodflow.tracking.ensemble import track_ensemble as track_ensemble
from rodflow.tracking.records import FlowTracking as FlowTracking
from rodflow.tracking.records import Tracking as Tracking
from rodflow.tracking.track import track as track
from rodflow.tracking.tracker import Tracker as Tracker
from rodflow.transforms.compensation import compensate_rounding as compensate_rounding
from rodflow.transforms.first_gradient import gi_adam as gi_adam
from rodflow.transforms.first_gradient import (
    second_moments_from_gradient as second_moments_from_gradient,
)
from rodflow.transforms.inverse_free_shampoo import if_shampoo as if_shampoo
from rodflow.transforms.inverse_free_shampoo import scale_by_if_shampoo as scale_by_if_shampoo
from rodflow.transforms.monitored import monitored as monitored
from rodflow.transforms.named import OPTIMIZERS as OPTIMIZERS
from rodflow.transforms.named import heavy_ball as heavy_ball
from rodflow.transforms.named import nesterov as nesterov
from rodflow.transforms.named import rmsprop as rmsprop
from rodflow.transforms.rectified_adam import Rectification as Rectification
from rodflow.transforms.rectified_adam import rectification as rectification
from rodflow.transforms.root_free_adam import rf_adamw as rf_adamw
from rodflow.transforms.root_free_adam import scale_by_rf_adam as scale_by_rf_adam
from rodflow.transforms.root_free_rms import rf_rmsprop as rf_rmsprop
from rodflow.transforms.root_free_rms import scale_by_rf_rms as scale_by_rf_rms
from rodflow.transforms.scalar_adam import scalar_adam as scalar_adam
from rodflow.transforms.scalar_adam import scalar_nadam as scalar_nadam
from rodflow.transforms.scalar_adam import scale_by_scalar_adam as scale_by_scalar_adam
from rodflow.transforms.scalar_adam import scale_by_scalar_nadam as scale_by_scalar_nadam
from rodflow.transforms.scalar_rms import scalar_rmsprop as scalar_rmsprop
from rodflow.transforms.scalar_rms import scale_by_scalar_rms as scale_by_scalar_rms
from rodflow.transforms.scale_to_edge import scale_to_edge as scale_to_edge
from rodflow.transforms.warmup import adam_2k as adam_2k
from rodflow.transforms.warmup import second_moments_first as second_moments_first

__version__ = "0.1.0"
