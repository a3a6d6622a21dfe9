"""Settings of the simulated microscope and its electrode, with named regimes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from ...errors import ConfigError
from .spectra import PRE_EDGE, ni_edge_energies

Chemistry = Literal["uniform", "core_shell", "off_centre", "mixed"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Amount = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=0)]
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # What the literature shows: nine particles apart from each other, 143 energies.
        "paper": {},
        "calm": {
            "jitter_px": 0.3,
            "drift_px": 2.0,
            "wander_px": 1.0,
            "strain": (0.002, -0.001, 0.0),
            "rotation_deg": 0.05,
            "background": 0.02,
        },
        # A stage that is re-positioned for the flat of every energy.
        "strong_jitter": {"jitter_px": 8.0, "drift_px": 25.0, "radius_px": (15.0, 38.0)},
        "low_counts": {"counts": 300.0, "chunk": 1},
        "crowd": {"n_particles": 40, "radius_px": (10.0, 18.0), "wander_px": 1.5},
        "births_departures": {"n_particles": 6, "births": 2, "departures": 2, "hidden": 1},
        "touching": {"touching": 0.6, "wander_px": 2.0},
        # Small loadings: nothing is seen below the edge.
        "vanishing": {"pre_edge": 0.01},
        # Thick binder, and a beam that does not stay where its flat was taken.
        "background": {"background": 0.12, "illumination_shift_px": 30.0, "flat_lag_px": 15.0},
        # Oxidation that runs through each particle from one side while it is scanned.
        "off_centre": {
            "chemistry": "off_centre",
            "charge": (0.05, 0.95),
            "radius_px": (20.0, 45.0),
        },
        "cut": {"allow_cut": True, "n_particles": 12},
        "magnification": {"magnification_per_ev": -1.2e-4},
        # One sample scan after scan; the stage comes back from elsewhere before each.
        "six_scans": {"scans": 6, "scan_jump_px": 15.0},
        "large_2048": {
            "shape": (2048, 2048),
            "n_particles": 20,
            "radius_px": (40.0, 150.0),
            "drift_px": 30.0,
            "wander_px": 8.0,
            "jitter_px": 4.0,
        },
        # Light that falls to a few percent at two sides, magnification that changes with energy,
        # flats with another exposure than the sample, large particles of which some are cut.
        "ssrl_like": {
            "shape": (1024, 1024),
            "n_particles": 9,
            "radius_px": (40.0, 120.0),
            "allow_cut": True,
            "illumination_low": 0.04,
            "magnification_per_ev": -1.2e-4,
            "exposure": 0.5,
            "flat_exposure": 0.3,
            "counts": 1500.0,
            "jitter_px": 5.0,
        },
    }
)


class SimSettings(BaseModel):
    """Settings of :class:`~operando.streamer.lab.simulate.simulator.Simulator`.

    The defaults are those of a typical operando scan: 143 energies over the Ni K edge, nine
    particles that stay apart and inside a field of 460 x 460 px.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, description="seed of everything random")
    shape: tuple[PositiveInt, PositiveInt] = Field(
        default=(460, 460), description="frame (H, W), px"
    )
    pixel_size: PositiveFloat = Field(
        default=0.031, description="size of a pixel in the sample, um"
    )

    n_energies: PositiveInt = Field(
        default=143, description="number of energies if `energies` is not given"
    )
    energies: tuple[float, ...] | None = Field(default=None, description="energies of a scan, eV")
    scans: PositiveInt = Field(
        default=1, description="scans of the same sample, one after the other"
    )
    period: PositiveFloat = Field(default=4.2, description="time from one energy to the next, s")

    n_particles: Count = Field(default=9, description="particles present from the start to the end")
    radius_px: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(15.0, 45.0), description="range of equal-area radii, px"
    )
    irregularity: Share = Field(
        default=0.5, description="0 for discs, 1 for very irregular contours"
    )
    touching: Share = Field(default=0.0, description="share of particles that touch another one")
    births: Count = Field(default=0, description="further particles that enter during the scan")
    departures: Count = Field(default=0, description="further particles that leave during the scan")
    hidden: Count = Field(
        default=0, description="how many of `n_particles` lose all contrast for a while"
    )
    hidden_frames: PositiveInt = Field(default=5, description="for how many frames they do, frames")
    allow_cut: bool = Field(
        default=False, description="particles may be cut by the rim of the frame"
    )

    jitter_px: Amount = Field(default=2.0, description="white jitter per frame and axis, px rms")
    drift_px: Amount = Field(default=8.0, description="slow common drift over the whole series, px")
    wander_px: Amount = Field(default=3.0, description="largest own motion of a particle, px")
    steps_px: tuple[Amount, Amount] = Field(
        default=(0.0, 0.0),
        description="own random step of a particle from frame to frame along y and x; they add "
        "up, px rms",
    )
    rigid: Count = Field(
        default=0,
        description="how many of `n_particles` have no motion of their own (nor have those that "
        "touch them)",
    )
    strain: tuple[float, float, float] = Field(
        default=(0.010, -0.006, 0.003), description="strain (yy, xx, yx) reached at the end, 1"
    )
    rotation_deg: float = Field(
        default=0.3, description="common rotation reached at the end, degree"
    )
    spin_deg: Amount = Field(default=2.0, description="largest own rotation of a particle, degree")
    magnification_per_ev: float = Field(
        default=0.0,
        description="change of the magnification with energy, 1/eV (zone plate: -1.2e-4)",
    )

    scan_jump_px: Amount = Field(
        default=0.0, description="jump of the field between scans, px rms per axis"
    )

    edge_od: PositiveFloat = Field(
        default=1.0, description="mean OD above the edge of a particle of median radius, OD"
    )
    pre_edge: Share = Field(
        default=PRE_EDGE, description="absorption below the edge, relative to that above it"
    )
    chemistry: Chemistry = Field(
        default="mixed", description="where in a particle the oxidation runs"
    )
    charge: tuple[Share, Share] = Field(
        default=(0.25, 0.60),
        description="mean oxidised share at the start and the end of the series",
    )
    background: Amount = Field(
        default=0.04, description="structure of the background, OD rms at the edge"
    )
    haze: Amount = Field(
        default=0.0, description="smooth background that is another one in every frame, OD rms"
    )
    psf_px: Amount = Field(default=1.0, description="standard deviation of the Gaussian PSF, px")

    counts: PositiveFloat = Field(
        default=3000.0, description="counts of a flat at its brightest, per exposure"
    )
    counts_spread: Amount = Field(
        default=0.0,
        description="spread of the counts from energy to energy, and with them of the noise; the "
        "flat of an energy has its counts, rms of the logarithm",
    )
    chunk: PositiveInt = Field(default=3, description="exposures per event")
    exposure: PositiveFloat = Field(default=0.5, description="exposure time of sample images, s")
    flat_exposure: PositiveFloat = Field(default=0.5, description="exposure time of flat images, s")
    illumination_low: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="relative illumination at two sides; None for a mild fall-off"
    )
    illumination_shift_px: Amount = Field(
        default=6.0, description="motion of the beam over a scan, px"
    )
    flat_lag_px: Amount = Field(
        default=0.0,
        description="motion of the beam between a flat and the sample image it is for, px rms "
        "per axis",
    )
    flicker: Amount = Field(
        default=0.004, description="intensity noise between exposures, relative rms"
    )
    structure: Amount = Field(
        default=0.06, description="fixed pattern of the scintillator, relative rms"
    )
    dark_level: Amount = Field(default=100.0, description="detector offset, counts")
    read_noise: Amount = Field(default=3.0, description="read noise, counts rms")
    hot_pixels: Count = Field(default=25, description="hot pixels in the frame")

    @property
    def scan_energies(self) -> tuple[float, ...]:
        """Return the energies of one scan, eV."""
        return self.energies if self.energies is not None else ni_edge_energies(self.n_energies)

    @property
    def n_frames(self) -> int:
        """Return the number of frames of the whole series."""
        return self.scans * len(self.scan_energies)


def preset(name: str, **changes: Any) -> SimSettings:
    """Make the settings of a named regime.

    Parameters
    ----------
    name : one of :data:`PRESETS`.
    **changes : settings that replace those of the regime.

    Raises
    ------
    ConfigError
        If there is no such regime.
    """
    if name not in PRESETS:
        raise ConfigError(f"simulator preset: got {name!r}; choose one of {', '.join(PRESETS)}")
    return SimSettings(**{**PRESETS[name], **changes})
