"""Scenes that are known exactly: painted by formula, moved without any resampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operando.streamer.lab.bench.peers import PeerStart

SHAPE = (224, 240)
RADII = np.array([16.0, 18.0, 15.0, 20.0, 17.0])
START = np.array([[60.3, 62.8], [64.1, 170.4], [120.7, 110.2], [165.5, 55.9], [158.2, 178.6]])


@dataclass(frozen=True)
class Scene:
    """A stack (F, H, W), and where its particles are, (F, P, 2)."""

    stack: np.ndarray
    yx: np.ndarray

    @property
    def energies(self):
        return np.linspace(8300.0, 8400.0, len(self.stack))

    def start(self, frame0=0):
        return PeerStart(frame0=frame0, yx=self.yx[frame0], radius=RADII, oracle_yx=self.yx)


def body(y, x):
    """Optical density at places of the sample: irregular particles with grains, no background."""
    value = np.zeros_like(y)
    for k, ((cy, cx), radius) in enumerate(zip(START, RADII, strict=True)):
        dy, dx = y - cy, x - cx
        angle = np.arctan2(dy, dx)
        rim = radius * (1 + 0.12 * np.cos(2 * angle + k) + 0.06 * np.cos(3 * angle + 2 * k))
        inside = 1 / (1 + np.exp(1.2 * (np.hypot(dy, dx) - rim)))
        value += inside * (0.6 + 0.12 * np.sin(0.45 * dy + k) * np.cos(0.5 * dx - k))
    return value


def background(y, x):
    """Structure of the electrode, which moves with the particles."""
    rng = np.random.default_rng(5)
    value = np.zeros_like(y)
    for _ in range(60):
        cy, cx = rng.uniform(-20, 260, 2)
        value += 0.08 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * rng.uniform(3, 9) ** 2))
    return value


def scene(shifts, turns=None, gains=None, noise=0.01):
    """Paint a stack.

    shifts (F, 2) px; turns (F,) degree about the middle; gains (F,) of the particles only.
    """
    shifts = np.asarray(shifts, float)
    turns = np.zeros(len(shifts)) if turns is None else np.deg2rad(turns)
    gains = np.ones(len(shifts)) if gains is None else gains
    rng = np.random.default_rng(3)
    middle = (np.array(SHAPE) - 1) / 2
    grid = np.stack(np.indices(SHAPE, float), -1)
    stack, places = [], []
    for shift, turn, gain in zip(shifts, turns, gains, strict=True):
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        y, x = np.moveaxis((grid - middle - shift) @ turned + middle, -1, 0)
        image = 0.3 + gain * body(y, x) + background(y, x)
        image = image + rng.normal(0, noise, SHAPE)
        image[:7] = np.nan  # a rim without light
        image[40:43, 200:204] = np.nan
        stack.append(image)
        places.append((START - middle) @ turned.T + middle + shift)
    return Scene(np.array(stack, np.float32), np.array(places))
