"""Optimizers as maps on phase space, the parity of their state, and where parameters are placed."""

from rodflow.maps.batches import Batch as Batch
from rodflow.maps.batches import BatchLoss as BatchLoss
from rodflow.maps.epoch import Epoch as Epoch
from rodflow.maps.iteration import AbstractIteration as AbstractIteration
from rodflow.maps.iteration import Iteration as Iteration
from rodflow.maps.iteration import PhaseState as PhaseState
from rodflow.maps.minibatch_iteration import MinibatchIteration as MinibatchIteration
from rodflow.maps.minibatches import Minibatches as Minibatches
from rodflow.maps.parity import Parity as Parity
from rodflow.maps.parity import RoundingError as RoundingError
from rodflow.maps.parity import are_rounding_errors as are_rounding_errors
from rodflow.maps.parity import as_clock as as_clock
from rodflow.maps.parity import probe_parity as probe_parity
from rodflow.maps.placement import Placement as Placement
from rodflow.maps.placement import place as place
from rodflow.maps.placement import place_alike as place_alike
from rodflow.maps.placement import placement_of as placement_of
from rodflow.maps.programs import compiled as compiled
from rodflow.maps.programs import lowered as lowered
from rodflow.maps.programs import program_of as program_of
