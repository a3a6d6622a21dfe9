"""Training data of the networks: simulated frames of which everything is randomised."""

from .pool import Pool, build_pool
from .scenes import Scene, random_scene, random_scenes
from .settings import Effects, random_settings

__all__ = [
    "Effects",
    "Pool",
    "Scene",
    "build_pool",
    "random_scene",
    "random_scenes",
    "random_settings",
]
