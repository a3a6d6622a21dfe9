"""Settings of the spectra and the maps of particles."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Energy = Annotated[float, Field(gt=0)]


class ReferenceSettings(BaseModel):
    """Files with the spectra of the two phases between which the chemistry runs.

    XDI, text columns (energy in eV or keV, absorption), Athena exports (.nor, .xmu) and Athena
    projects (``file.prj#label`` names the group). Relative to the folder of the profile.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reduced: str = Field(description="file of the reduced phase")
    oxidised: str = Field(description="file of the oxidised phase")


class XanesSettings(BaseModel):
    """Settings that turn aligned ROIs into spectra and maps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(default=True, description="make spectra and maps of each particle")
    references: ReferenceSettings | None = Field(
        default=None,
        description="spectra of the reduced and the oxidised phase; none: spectra, edge and white "
        "line only, no fraction",
    )
    folder: str = Field(
        default="",
        description="folder that the files of the references are relative to; empty: that of the "
        "profile",
    )
    normalise_references: bool = Field(
        default=True,
        description="take a pre-edge line off the references and divide them by their edge step; "
        "false: they are absorption per metal atom on one scale already",
    )
    energy_shift: float = Field(
        default=0.0, gt=-100, lt=100, description="is added to the energies of the references, eV"
    )
    degree: int = Field(
        default=1, ge=0, le=3, description="degree in energy of the background under a spectrum, 1"
    )
    window: tuple[Energy, Energy] | None = Field(
        default=None,
        description="energies that the fit of the fraction uses, from and to, eV; none: those of "
        "the references",
    )
    edge: float | None = Field(
        default=None,
        gt=0,
        description="where the edge is, roughly, eV; none: that of the references, else the "
        "steepest place of each spectrum",
    )
    pre_edge: float = Field(
        default=15.0, gt=0, description="the pre-edge line is fitted this far below the edge, eV"
    )
    post_edge: float = Field(
        default=25.0, gt=0, description="the post-edge line is fitted this far above the edge, eV"
    )
    smooth: float = Field(
        default=2.0,
        gt=0,
        description="half width of the local quadratic that edge and white line are read off; "
        "wider where energies are sparse, eV",
    )
    min_step: float = Field(
        default=0.03, gt=0, description="smallest edge step that counts as an edge, OD"
    )
    max_sigma: float = Field(
        default=3.0,
        gt=0,
        description="ROIs of particles whose place is less certain are left out, px",
    )
    gain: float = Field(
        default=2.0,
        gt=1,
        description="maps of a particle are refreshed when the standard error of its fraction has "
        "fallen by this factor since, or its edge has become known, 1",
    )
    soonest: int = Field(
        default=4, ge=1, description="but not before so many energies more have come"
    )
    every: int = Field(
        default=64,
        ge=1,
        description="and in any case after so many; the first time when the standard error is "
        "below 0.1 or the edge is known, the last time when the run stops",
    )
    enough_sigma: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="enough energies have been measured when the standard error of the oxidised "
        "fraction of a particle is at most this, 1",
    )
    map_px: int = Field(
        default=192,
        ge=16,
        description="ROIs with a longer side are binned before they are kept, px",
    )
    memory_mb: float = Field(
        default=1024.0,
        gt=0,
        description="ROIs of a run kept in memory until it stops, MB; past it maps are no longer "
        "brought up to date, which the ledger says",
    )

    @model_validator(mode="after")
    def _window_runs_upwards(self) -> XanesSettings:
        if self.window is not None and self.window[0] >= self.window[1]:
            raise ValueError("the window must run from a lower to a higher energy")
        return self
