"""Single-object visual tracking in JAX: trackers that learn to rank their candidates."""

from jaxtrack import trackers
from jaxtrack.batch import run_batch
from jaxtrack.compilation import disable_compilation_cache, enable_compilation_cache
from jaxtrack.errors import UserError
from jaxtrack.images import Frame, make_frame
from jaxtrack.running import run
from jaxtrack.session import Session
from jaxtrack.tracker import Prediction, Track, Tracker

__all__ = [
    "Frame",
    "Prediction",
    "Session",
    "Track",
    "Tracker",
    "UserError",
    "disable_compilation_cache",
    "enable_compilation_cache",
    "make_frame",
    "run",
    "run_batch",
    "trackers",
]
