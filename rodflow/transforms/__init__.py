"""Optax transformations that Optax lacks, and the optimizers of the papers by name."""

from rodflow.transforms._monitor import MonitoredState as MonitoredState
from rodflow.transforms.compensation import CompensateRoundingState as CompensateRoundingState
from rodflow.transforms.compensation import compensate_rounding as compensate_rounding
from rodflow.transforms.first_gradient import FirstGradientState as FirstGradientState
from rodflow.transforms.first_gradient import gi_adam as gi_adam
from rodflow.transforms.first_gradient import (
    second_moments_from_gradient as second_moments_from_gradient,
)
from rodflow.transforms.inverse_free_shampoo import ScaleByIfShampooState as ScaleByIfShampooState
from rodflow.transforms.inverse_free_shampoo import if_shampoo as if_shampoo
from rodflow.transforms.inverse_free_shampoo import scale_by_if_shampoo as scale_by_if_shampoo
from rodflow.transforms.monitored import monitored as monitored
from rodflow.transforms.named import OPTIMIZERS as OPTIMIZERS
from rodflow.transforms.named import heavy_ball as heavy_ball
from rodflow.transforms.named import nesterov as nesterov
from rodflow.transforms.named import rmsprop as rmsprop
from rodflow.transforms.rectified_adam import Rectification as Rectification
from rodflow.transforms.rectified_adam import rectification as rectification
from rodflow.transforms.root_free_adam import ScaleByRfAdamState as ScaleByRfAdamState
from rodflow.transforms.root_free_adam import rf_adamw as rf_adamw
from rodflow.transforms.root_free_adam import scale_by_rf_adam as scale_by_rf_adam
from rodflow.transforms.root_free_rms import ScaleByRfRmsState as ScaleByRfRmsState
from rodflow.transforms.root_free_rms import rf_rmsprop as rf_rmsprop
from rodflow.transforms.root_free_rms import scale_by_rf_rms as scale_by_rf_rms
from rodflow.transforms.scalar_adam import ScaleByScalarAdamState as ScaleByScalarAdamState
from rodflow.transforms.scalar_adam import scalar_adam as scalar_adam
from rodflow.transforms.scalar_adam import scalar_nadam as scalar_nadam
from rodflow.transforms.scalar_adam import scale_by_scalar_adam as scale_by_scalar_adam
from rodflow.transforms.scalar_adam import scale_by_scalar_nadam as scale_by_scalar_nadam
from rodflow.transforms.scalar_rms import ScaleByScalarRmsState as ScaleByScalarRmsState
from rodflow.transforms.scalar_rms import scalar_rmsprop as scalar_rmsprop
from rodflow.transforms.scalar_rms import scale_by_scalar_rms as scale_by_scalar_rms
from rodflow.transforms.scale_to_edge import ScaleToEdgeState as ScaleToEdgeState
from rodflow.transforms.scale_to_edge import scale_to_edge as scale_to_edge
from rodflow.transforms.warmup import SecondMomentsFirstState as SecondMomentsFirstState
from rodflow.transforms.warmup import adam_2k as adam_2k
from rodflow.transforms.warmup import second_moments_first as second_moments_first
