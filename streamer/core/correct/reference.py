"""References: the darks and flats of a run, and what sample frames are divided by.

A flat is prepared once, so that ``apply`` costs one logarithm a frame and no medians.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..frames import Frame, OpticalDensityFrame
from .illumination import bright_level, coarsen
from .settings import CorrectSettings
from .state import BadFrameError, Correction, CorrectorState, Mean, PreparedReference

_BAND = 16384  # px, of which the temporaries stay in the cache of a processor
_SAMPLED = 32768  # px in rows that tell the noise: by eye, to a percent or so
_MAD_TO_SIGMA = 0.6745  # of a normal distribution


def apply(
    image: NDArray[Any], correction: Correction, settings: CorrectSettings
) -> OpticalDensityFrame:
    """Return the optical density -ln((image - dark) / (flat - dark)).

    Pixels without a single count through a thick particle stay valid at ``od_max``: a hole in its
    mask would move its centre.

    Parameters
    ----------
    image : (H, W), counts, the raw sample frame that `correction` is for.

    Raises
    ------
    BadFrameError
        ``shape`` if the image does not fit the reference.
    """
    reference = correction.reference
    if image.shape != reference.log_counts.shape:
        raise BadFrameError(
            "shape", f"wanted an image {reference.log_counts.shape}, got {image.shape}"
        )
    valid = reference.valid & (image < settings.saturation)
    if correction.dark is None:
        net = image.astype(np.float32)
    else:
        net = np.subtract(image, correction.dark, dtype=np.float32)
    valid &= net == net  # False for NaN, and cheaper than isfinite
    lowest = np.float32(max(reference.level * np.exp(-settings.od_max) * 1e-6, 1e-30))
    log_net = np.log(np.maximum(net, lowest, out=net), out=net)
    np.subtract(reference.log_counts, log_net, out=log_net)
    log_net += np.float32(correction.log_scale)
    od = np.clip(log_net, settings.od_min, settings.od_max, out=log_net)
    od[~valid] = 0
    return OpticalDensityFrame(
        key=correction.key,
        frame=correction.frame,
        energy=correction.energy,
        time=correction.time,
        od=od,
        valid=valid,
        sigma=_noise(od, valid),
        revision=correction.revision,
        provisional=correction.provisional,
        final=correction.final,
        estimated=reference.source == "estimate",
    )


def _noise(od: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    """Estimate the rms noise, OD, from second differences in some rows; NaN if none is valid."""
    step = max(1, od.size // _SAMPLED)
    rows, mask = od[step // 2 :: step], valid[step // 2 :: step]
    middle = rows[:, 1:-1] - (rows[:, :-2] + rows[:, 2:]) / 2
    usable = mask[:, 1:-1] & mask[:, :-2] & mask[:, 2:]
    residual = np.abs(middle[usable])
    # A second difference with weights (-1/2, 1, -1/2) has 3/2 of the variance of one pixel.
    return (
        float(np.median(residual) / _MAD_TO_SIGMA / np.sqrt(1.5)) if residual.size else float("nan")
    )


def add_dark(state: CorrectorState, frame: Frame) -> CorrectorState:
    """Average a dark image into the dark of its exposure time."""
    same = [dark for dark in state.darks if dark.exposure == frame.exposure]
    made = _averaged(same[0], frame) if same else _started(frame, serial=0)
    others = tuple(dark for dark in state.darks if dark.exposure != frame.exposure)
    # The first dark of a run also holds for the flats prepared without one; a flat that had a dark
    # keeps the one it had.
    flats = state.flats if state.darks else tuple(_unprepared(flat) for flat in state.flats)
    return replace(state, darks=(*others, made), flats=flats)


def add_flat(state: CorrectorState, frame: Frame, settings: CorrectSettings) -> CorrectorState:
    """Average a flat image into its open group, or start a group that replaces that energy's."""
    nearby = [f for f in state.flats if same_energy(f.energy, frame.energy, settings)]
    same = next((flat for flat in nearby if flat.exposure == frame.exposure), None)
    if same is not None and same.is_open:
        others = tuple(flat for flat in state.flats if flat is not same)
        return replace(state, flats=(*others, _averaged(same, frame)))
    others = tuple(f for f in state.flats if not same_energy(f.energy, frame.energy, settings))
    flats = (*others, _started(frame, serial=state.n_groups))
    first = state.count == 0 if state.n_groups == 0 else state.flats_first
    # A prepared flat is a float32 image and its mask.
    fitting = int(settings.flat_memory_mb * 1e6 / (5 * frame.image.size))
    if len(flats) > max(1, min(settings.max_flats, fitting)):
        flats = _evicted(flats)
    return replace(state, flats=flats, n_groups=state.n_groups + 1, flats_first=first)


def pick_dark(state: CorrectorState, exposure: float | None) -> Mean | None:
    """Return the dark of the nearest exposure time, None without any dark."""
    if not state.darks:
        return None
    if exposure is None:
        return state.darks[-1]
    return min(
        state.darks,
        key=lambda dark: abs(dark.exposure - exposure) if dark.exposure is not None else np.inf,
    )


def closed(state: CorrectorState, flat: Mean, settings: CorrectSettings) -> Mean:
    """Return the flat group closed and prepared, without its counts."""
    if flat.reference is not None or flat.image is None:
        return replace(flat, is_open=False)
    dark = pick_dark(state, flat.exposure)
    made = prepare_flat(
        flat.image,
        None if dark is None else dark.image,
        settings,
        energy=flat.energy,
        exposure=flat.exposure,
    )
    return replace(flat, is_open=False, image=None, reference=made)


def matching(state: CorrectorState, energy: float | None, settings: CorrectSettings) -> Mean | None:
    """Return the latest prepared flat of this energy, None if there is none."""
    known = [
        flat
        for flat in state.flats
        if flat.reference is not None and same_energy(flat.energy, energy, settings)
    ]
    return max(known, key=lambda flat: flat.serial, default=None)


def nearest(state: CorrectorState, energy: float | None) -> Mean | None:
    """Return the prepared flat of the nearest energy, the latest of equals; None without flats."""
    known = [flat for flat in state.flats if flat.reference is not None]
    return min(
        known,
        key=lambda flat: (
            0.0 if flat.energy is None or energy is None else abs(flat.energy - energy),
            -flat.serial,
        ),
        default=None,
    )


def is_single(state: CorrectorState, settings: CorrectSettings) -> bool:
    """Tell whether all flats of the run so far are of one energy."""
    energies = [flat.energy for flat in state.flats]
    return all(same_energy(energy, energies[0], settings) for energy in energies)


def same_energy(one: float | None, other: float | None, settings: CorrectSettings) -> bool:
    """Tell whether two energies, eV, agree within the tolerance; an unknown one agrees with all."""
    return one is None or other is None or abs(one - other) <= settings.energy_tolerance


def rate(level: float, exposure: float | None, settings: CorrectSettings) -> float:
    """Return counts per second where the exposure is known and wanted, else the counts."""
    return level / exposure if settings.normalise_exposure and exposure else level


def _started(frame: Frame, *, serial: int) -> Mean:
    return Mean(
        energy=frame.energy,
        exposure=frame.exposure,
        image=frame.image.astype(np.float32),
        coarse=coarsen(frame.image),
        n=frame.n_averaged,
        serial=serial,
    )


def _averaged(mean: Mean, frame: Frame) -> Mean:
    n = mean.n + frame.n_averaged
    share = frame.n_averaged / n
    before = frame.image if mean.image is None else mean.image
    return replace(
        mean,
        image=before + np.float32(share) * (frame.image - before),
        coarse=mean.coarse + np.float32(share) * (coarsen(frame.image) - mean.coarse),
        n=n,
    )


def _unprepared(flat: Mean) -> Mean:
    if flat.reference is None:
        return flat
    return replace(flat, image=np.exp(flat.reference.log_counts), reference=None)


def _evicted(flats: tuple[Mean, ...]) -> tuple[Mean, ...]:
    """Drop the flat whose loss leaves the smallest gap in energy, never the newest."""
    energies = [flat.energy if flat.energy is not None else 0.0 for flat in flats]

    def gap(index: int) -> float:
        below = [e for i, e in enumerate(energies) if e <= energies[index] and i != index]
        above = [e for i, e in enumerate(energies) if e >= energies[index] and i != index]
        return min(above) - max(below) if above and below else np.inf

    worst = min(range(len(flats) - 1), key=gap)
    return tuple(flat for index, flat in enumerate(flats) if index != worst)


def prepare_flat(
    flat: NDArray[np.float32],
    dark: NDArray[np.float32] | None,
    settings: CorrectSettings,
    *,
    energy: float | None = None,
    exposure: float | None = None,
) -> PreparedReference:
    """Turn a flat into its logarithm and the mask of pixels that may be used.

    Parameters
    ----------
    flat, dark : (H, W), counts.
    energy, exposure : eV and s of the flat.

    Returns
    -------
    reference
        Masked are: light below ``min_illumination`` of the bright level, hot and dead pixels,
        saturated and non-finite pixels, and the rim.
    """
    net = flat.astype(np.float32) if dark is None else flat - dark
    finite = np.isfinite(net)
    if not finite.all():
        net = np.where(finite, net, np.float32(0))
    level = bright_level(coarsen(net))
    floor = max(settings.min_illumination * level, np.finfo(np.float32).tiny)
    valid = (net > floor) & finite & (flat < settings.saturation)
    valid &= ~_outliers(net, settings.hot_sigma)
    log_counts = np.log(np.maximum(net, np.float32(floor), out=net), out=net)
    made = _reference("flat", log_counts, valid, level, settings.rim)
    return replace(made, energy=energy, exposure=exposure)


def prepare_estimate(
    log_counts: NDArray[np.float32], settings: CorrectSettings
) -> PreparedReference:
    """Turn an estimated illumination, ln counts (H, W), into a reference."""
    level = float(np.exp(np.percentile(coarsen(log_counts), 95)))
    valid = log_counts > np.log(max(settings.min_illumination * level, np.finfo(np.float32).tiny))
    return _reference("estimate", log_counts, valid, level, settings.rim)


def _reference(
    source: Literal["flat", "estimate"],
    log_counts: NDArray[np.float32],
    valid: NDArray[np.bool_],
    level: float,
    rim: int,
) -> PreparedReference:
    """Mask the rim and average over blocks."""
    if rim:
        valid[:rim] = valid[-rim:] = False
        valid[:, :rim] = valid[:, -rim:] = False
    return PreparedReference(
        source=source,
        energy=None,
        exposure=None,
        log_counts=log_counts,
        valid=valid,
        coarse_log=coarsen(log_counts),
        coarse_valid=coarsen(valid) >= 0.5,
        level=level,
    )


def _outliers(net: NDArray[np.float32], sigmas: float) -> NDArray[np.bool_]:
    """Mark pixels far from the median of their four neighbours, in units of counting noise.

    Four neighbours instead of 3 x 3: their median takes a few passes instead of a sort per pixel,
    and one bad neighbour does not move it.
    """
    height, width = net.shape
    residual = np.empty((height - 2, width - 2), np.float32)
    rows = max(1, _BAND // width)
    for first in range(0, height - 2, rows):
        _residuals(net[first : first + rows + 2], out=residual[first : first + rows])
    step = -(-int(residual.size**0.5) // 256)
    noise = float(np.median(residual[::step, ::step])) / _MAD_TO_SIGMA
    marked = np.zeros(net.shape, bool)
    marked[1:-1, 1:-1] = residual > sigmas * max(noise, 1e-6)
    return marked


def _residuals(net: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Divide the difference from the median of the neighbours by its noise, inside of a band."""
    inner = net[1:-1, 1:-1]
    up, down, left, right = net[:-2, 1:-1], net[2:, 1:-1], net[1:-1, :-2], net[1:-1, 2:]
    # the middle two of four: the higher of the lower ones, and the lower of the higher ones
    middle = np.maximum(np.minimum(up, down), np.minimum(left, right))
    np.minimum(np.maximum(up, down), np.maximum(left, right), out=out)
    middle += out
    middle *= np.float32(0.5)
    np.abs(np.subtract(inner, middle, out=out), out=out)
    # Counting noise grows with the root of the counts: dividing by it lets one threshold do.
    out /= np.sqrt(np.maximum(middle, 1, out=middle), out=middle)
