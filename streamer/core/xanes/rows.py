"""What is told of spectra and maps."""

from __future__ import annotations

from dataclasses import dataclass

from ....models.arrays import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumRow:
    """One energy of the spectrum of one particle, and what is known of the spectrum so far.

    Attributes
    ----------
    particle, frame, revision : whose, of which frame, and how often it was told before.
    energy : eV. time : data time, s.
    od, od_sigma : mean optical density over the particle, and its counting noise, OD.
    surroundings : median optical density of what lies around the particle, OD; NaN if there is
        nothing. What is read off a spectrum is read off `od` without them.
    n_pixels : that the mean is over. n_energies : different ones so far.
    fraction, fraction_sigma : share of the oxidised phase at the moment at which the edge was
        crossed (see `mean_fractions`), and its standard error.
    enough : whether `fraction_sigma` is as small as was asked for.
    edge_energy, edge_energy_sigma, edge_inflection : half of the step, steepest place, eV.
    white_line, white_line_height : energy, eV, and height in edge steps.
    """

    particle: int
    frame: int
    revision: int
    energy: float
    time: float
    od: float
    od_sigma: float
    surroundings: float
    n_pixels: int
    n_energies: int
    fraction: float
    fraction_sigma: float
    enough: bool
    edge_energy: float
    edge_energy_sigma: float
    edge_inflection: float
    white_line: float
    white_line_height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MapsRow:
    """Maps (S, S) float32 of one particle, NaN outside of it.

    Attributes
    ----------
    n_energies : different ones that they are made of. n_pixels : of the particle.
    revision : how often they were told before. final : the run has stopped.
    time : data time, s.
    edge_energy, white_line : eV. white_line_height : edge steps. edge_step : OD.
    fraction, fraction_sigma : share of the oxidised phase, as if it did not change, and its
        standard error with that from the background beneath the particle.
    """

    particle: int
    n_energies: int
    n_pixels: int
    revision: int
    final: bool
    time: float
    edge_energy: Image
    white_line: Image
    white_line_height: Image
    edge_step: Image
    fraction: Image
    fraction_sigma: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class XanesUpdate:
    """Rows that a frame, or the end of the run, has brought."""

    spectra: tuple[SpectrumRow, ...] = ()
    maps: tuple[MapsRow, ...] = ()
