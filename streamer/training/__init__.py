"""Training data of the networks: simulated frames of which everything is randomised."""

from .pool import Pool, build_pool
from .recorded import recorded_crops
from .regimes import REGIMES
from .scenes import Scene, random_scene, random_scenes
from .settings import Effects, random_settings
from .unpaired import Domains, adapting, unpaired

__all__ = [
    "REGIMES",
    "Domains",
    "Effects",
    "Pool",
    "Scene",
    "adapting",
    "build_pool",
    "random_scene",
    "random_scenes",
    "random_settings",
    "recorded_crops",
    "unpaired",
]
