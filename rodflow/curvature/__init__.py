"""Response of a chain of transformations, and sharpness relative to the edge of stability."""

from rodflow.curvature.batch import batch_sharpness as batch_sharpness
from rodflow.curvature.batch import generalized_batch_sharpness as generalized_batch_sharpness
from rodflow.curvature.edge import Edge as Edge
from rodflow.curvature.edge import edge as edge
from rodflow.curvature.fluctuation import FluctuationMeter as FluctuationMeter
from rodflow.curvature.fluctuation import FluctuationState as FluctuationState
from rodflow.curvature.realized import EdgeFactors as EdgeFactors
from rodflow.curvature.realized import directional_sharpness as directional_sharpness
from rodflow.curvature.realized import edge_factors as edge_factors
from rodflow.curvature.realized import inner as inner
from rodflow.curvature.realized import realized_edge as realized_edge
from rodflow.curvature.realized import secant_sharpness as secant_sharpness
from rodflow.curvature.response import linear_response as linear_response
from rodflow.curvature.response import nyquist_response as nyquist_response
from rodflow.curvature.response import oscillation as oscillation
from rodflow.curvature.settling import Settling as Settling
from rodflow.curvature.sharpness import effective_sharpness as effective_sharpness
from rodflow.curvature.sharpness import sharpness as sharpness
