"""Ophyd devices of the simulated microscope, on a stage that may be askew and creep.

Shell code: it has clocks and devices. ``python -m operando.streamer.lab.simulate.process --help``
runs a scan and publishes its documents with bluesky's stock 0MQ publisher.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd import Component, Device, DeviceStatus, Signal
from ophyd.sim import SynAxis

from ....models.arrays import Array
from .documents import ENERGY_KEY
from .settings import SimSettings
from .simulator import Simulator
from .truth import Truth

logger = logging.getLogger(__name__)
_OUT = 1.5  # frame widths, by eye: from there on the sample is out of the field of view


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounting:
    """Motion of the image when the stage moves, and when it does not.

    Attributes
    ----------
    matrix : (2, 2) float64, from stage (y, x) to image (y, x), both as lengths: a rotation, a
        mirror image, or the identity.
    creep : (F, 2) float64, how far the sample has crept off where the stage says it is, by time
        index, px in the image; none for F = 0.
    """

    matrix: Array = field(default_factory=lambda: np.eye(2))
    creep: Array = field(default_factory=lambda: np.zeros((0, 2)))

    def crept(self, frame: int) -> Array:
        """Return the creep at a time index, (2,) px; it stops when its series is over."""
        return self.creep[min(frame, len(self.creep) - 1)] if len(self.creep) else np.zeros(2)

    def image_yx(self, stage_px: Sequence[float], frame: int) -> tuple[float, float]:
        """Return the shift of the image (y, x), px, for a stage position in px of its own axes."""
        y, x = self.matrix @ np.asarray(stage_px, dtype=np.float64) + self.crept(frame)
        return float(y), float(x)

    def px_per_um(self, pixel_size: float) -> Array:
        """Return the (2, 2) matrix from stage um to image px; `pixel_size` um."""
        return self.matrix / pixel_size


def askew(degrees: float, *, mirrored: bool = False) -> Array:
    """Return the matrix of a stage turned against the camera, its x axis mirrored or not."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return turn @ np.diag([1.0, -1.0 if mirrored else 1.0])


def steady_creep(px: float, direction_deg: float, frames: int, over: int) -> Array:
    """Return a creep at a constant rate, (frames, 2) px.

    Parameters
    ----------
    px : length over `over` frames. direction_deg : 0 along +x, 90 along +y. frames : in all.
    """
    angle = np.radians(direction_deg)
    return np.arange(frames)[:, None] * px / over * np.array([np.sin(angle), np.cos(angle)])


@dataclass(slots=True)
class SimulatedSample:
    """The electrode in the beam: it ages by one frame per image of it, and remembers the truth.

    Attributes
    ----------
    simulator : renders it at any time.
    taken : (frame, energy in eV, shift y, x of the image by the stage in px) of every image of
        the sample so far.
    """

    simulator: Simulator
    taken: list[tuple[int, float, float, float]] = field(default_factory=list)

    @property
    def age(self) -> int:
        """Return the time index of the next image; the electrode rests when the series is over."""
        return min(len(self.taken), self.simulator.n_frames - 1)

    def expose(self, n: int, energy: float, stage_yx: tuple[float, float]) -> NDArray[np.uint16]:
        """Take n images, (n, H, W), and let time pass; energy in eV, shift by the stage in px."""
        frame = self.age
        self.taken.append((frame, energy, *stage_yx))
        return self.simulator.exposures(frame, n, energy=energy, stage_yx=stage_yx)

    def truth(self) -> Truth:
        """Return the truth of all images of the sample, in the order in which they were taken."""
        taken = np.array(self.taken, dtype=float).reshape(-1, 4)
        return self.simulator.truth_of(taken[:, 0].astype(np.int64), taken[:, 1], taken[:, 2:])


class EnergyAxis(SynAxis):
    """Photon energy in keV, as beamlines have it."""

    def describe(self) -> Any:
        """Describe the readings with their unit."""
        described: Any = super().describe()
        for key in described.values():
            key["units"] = "keV"
        return described


class SampleStage(Device):
    """Stage of the sample, um."""

    x = Component(SynAxis, value=0.0, egu="um")
    y = Component(SynAxis, value=0.0, egu="um")

    @property
    def yx(self) -> tuple[float, float]:
        """Return the position (y, x), um."""
        return float(self.y.position), float(self.x.position)


class ImageSignal(Signal):
    """A chunk of images with its unit."""

    def describe(self) -> Any:
        """Describe the images as unsigned 16-bit counts."""
        described = super().describe()
        described[self.name].update(units="counts", dtype_numpy="<u2")
        return described


class TXMCamera(Device):
    """Detector that renders the sample at the current energy, stage position and shutter.

    Dark with the shutter closed, flat with the sample out of the field of view.
    """

    image = Component(ImageSignal, kind="normal")
    acquire_time = Component(Signal, value=0.5, kind="config")
    num_images = Component(Signal, value=1, kind="config")

    def __init__(self, *, beamline_parts: tuple[Any, ...], **kwargs: Any) -> None:
        self._sample, self._energy, self._stage, self._shutter, self._mounting = beamline_parts
        super().__init__(**kwargs)
        self.image.put(np.zeros((1, *self._sample.simulator.settings.shape), np.uint16))

    def trigger(self) -> DeviceStatus:
        """Take one chunk of images."""
        n: Any = self.num_images.get()
        self.image.put(self._expose(int(n)))
        return super().trigger()

    def _expose(self, n: int) -> NDArray[np.uint16]:
        sim = self._sample.simulator
        if self._shutter.get() != "open":
            return sim.dark(n)
        energy = 1000 * float(self._energy.position)
        y, x = (value / sim.settings.pixel_size for value in self._stage.yx)
        if max(abs(y), abs(x)) > _OUT * max(sim.settings.shape):
            return sim.flat(self._sample.age, n, energy=energy)
        return self._sample.expose(n, energy, self._mounting.image_yx((y, x), self._sample.age))


@dataclass(frozen=True, slots=True, kw_only=True)
class Beamline:
    """Devices and sample of a plan.

    Attributes
    ----------
    energy : photon energy, keV; stage : sample stage, um; shutter : ``open`` or ``closed``.
    camera : the detector; sample : what is in the beam, with its truth.
    """

    energy: EnergyAxis
    stage: SampleStage
    shutter: Signal
    camera: TXMCamera
    sample: SimulatedSample

    @property
    def settings(self) -> SimSettings:
        """Return the settings of the simulation."""
        return self.sample.simulator.settings


def make_beamline(
    settings: SimSettings | None = None, mounting: Mounting | None = None
) -> Beamline:
    """Build the devices around a new sample, on a stage that is mounted as given."""
    sample = SimulatedSample(Simulator(settings))
    first: Any = sample.simulator.settings.scan_energies[0] / 1000
    energy = EnergyAxis(name=ENERGY_KEY, value=first, precision=5)
    stage = SampleStage(name="stage")
    shutter = Signal(name="shutter", value="closed")
    parts = (sample, energy, stage, shutter, mounting or Mounting())
    camera = TXMCamera(name="txm", beamline_parts=parts)
    camera.acquire_time.put(sample.simulator.settings.exposure)
    return Beamline(energy=energy, stage=stage, shutter=shutter, camera=camera, sample=sample)
