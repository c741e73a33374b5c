"""Iterates and flows in lockstep, in one compiled program, and the records of both."""

from rodflow.tracking.ensemble import Ensemble as Ensemble
from rodflow.tracking.ensemble import Observables as Observables
from rodflow.tracking.ensemble import track_ensemble as track_ensemble
from rodflow.tracking.records import FlowTracking as FlowTracking
from rodflow.tracking.records import Tracking as Tracking
from rodflow.tracking.track import track as track
from rodflow.tracking.tracker import Tracker as Tracker
from rodflow.tracking.tracker import TrackerState as TrackerState
