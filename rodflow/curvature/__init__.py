"""Response of a chain of transformations, and sharpness relative to the edge of stability."""

from rodflow.curvature.edge import Edge as Edge
from rodflow.curvature.edge import edge as edge
from rodflow.curvature.response import linear_response as linear_response
from rodflow.curvature.response import nyquist_response as nyquist_response
from rodflow.curvature.response import oscillation as oscillation
from rodflow.curvature.settling import Settling as Settling
from rodflow.curvature.sharpness import effective_sharpness as effective_sharpness
from rodflow.curvature.sharpness import sharpness as sharpness
