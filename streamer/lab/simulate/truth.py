"""Truth of the simulated sample; never part of any document."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .spectra import EDGE_REGION

_STILL = frozenset({"radius", "shape"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Truth of F frames and P particles.

    Attributes
    ----------
    frame : (F,) int64, time index of the sample.
    energies : (F,) eV.
    yx : (F, P, 2) centre of mass of each silhouette (the support of the un-blurred projected
        thickness, also where it lies outside the frame), px.
    present : (F, P) bool, the particle is in the electrode and has contrast.
    visible : (F, P) bool, `present` and at least partly inside the frame.
    cut : (F, P) bool, the silhouette is not wholly inside the frame.
    drift : (F, 2) slow common motion, px.
    shift : (F, 2) all of the common rigid motion, with jitter, px.
    stage : (F, 2) where the stage put the sample, px.
    strain : (F, 4) strain yy, xx, yx (1) and rotation (rad) of the electrode.
    magnification : (F,) relative to the first energy.
    radius : (P,) equal-area radius, px.
    fraction : (F, P) thickness-weighted oxidised share.
    od : (F, P) mean OD of the particle without the background.
    shape : (2,) frame (H, W), px.
    """

    frame: NDArray[np.int64]
    energies: NDArray[np.float64]
    yx: NDArray[np.float64]
    present: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    drift: NDArray[np.float64]
    shift: NDArray[np.float64]
    stage: NDArray[np.float64]
    strain: NDArray[np.float64]
    magnification: NDArray[np.float64]
    radius: NDArray[np.float64]
    fraction: NDArray[np.float64]
    od: NDArray[np.float64]
    shape: NDArray[np.int64]

    @property
    def n_frames(self) -> int:
        """Return the number of frames."""
        return len(self.energies)

    @property
    def n_particles(self) -> int:
        """Return the number of particles that exist at some time."""
        return len(self.radius)

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Return (F, P) bool, visible and wholly inside the frame."""
        return self.visible & ~self.cut

    @property
    def region(self) -> NDArray[np.str_]:
        """Return (F,) ``below``, ``at`` or ``above`` the edge."""
        low, high = EDGE_REGION
        return np.select([self.energies < low, self.energies <= high], ["below", "at"], "above")

    def select(self, frames: slice | NDArray[np.int64]) -> Self:
        """Select some of the frames, e.g. those of one of several scans."""
        return type(self)(
            **{
                f.name: getattr(self, f.name)[() if f.name in _STILL else frames]
                for f in fields(self)
            }
        )

    def save(self, path: str | Path) -> None:
        """Write to an ``.npz`` file."""
        np.savez_compressed(
            path, allow_pickle=False, **{f.name: getattr(self, f.name) for f in fields(self)}
        )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as data:
            return cls(**{f.name: data[f.name] for f in fields(cls)})

    @classmethod
    def stack(cls, parts: list[Self]) -> Self:
        """Put the frames of several truths of one sample behind each other."""
        return cls(
            **{
                f.name: getattr(parts[0], f.name)
                if f.name in _STILL
                else np.concatenate([getattr(part, f.name) for part in parts])
                for f in fields(cls)
            }
        )
