"""Training data of the networks: simulated frames of which everything is randomised."""

from .difficulty import REGIMES
from .pool import Pool, build_pool
from .recorded import Domains, adapting, recorded_crops, unpaired
from .scenes import TrainingScene, random_scene, random_scenes
from .settings import Effects, random_settings

__all__ = [
    "REGIMES",
    "Domains",
    "Effects",
    "Pool",
    "TrainingScene",
    "adapting",
    "build_pool",
    "random_scene",
    "random_scenes",
    "random_settings",
    "recorded_crops",
    "unpaired",
]
