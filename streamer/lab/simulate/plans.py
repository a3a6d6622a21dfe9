"""Plans of the simulated beamline, in the order in which FXI scans. Shell code."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp

if TYPE_CHECKING:
    from .devices import Beamline


Plan = Generator[Any, Any, Any]
OUT_UM = 500.0
"""Distance by which the stage takes the sample out of the beam for a flat, um; by eye."""


def txm_xanes(
    beamline: Beamline,
    energies: Sequence[float] | None = None,
    *,
    period: float = 0.0,
    before: Callable[[], Plan] | None = None,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Run one XANES scan: darks, then at each energy the sample and, with the sample out, the flat.

    Parameters
    ----------
    beamline : the devices.
    energies : eV, those of the simulated series if None.
    period : shortest time from one energy to the next, s.
    before : plan stub that is run before each energy: re-centring, say.
    md : goes into the start document.
    """
    settings = beamline.settings
    energies = tuple(settings.scan_energies if energies is None else energies)
    chunk, camera = settings.chunk, beamline.camera

    @bpp.run_decorator(md=_metadata(beamline, energies, chunk, md or {}))
    def scan() -> Plan:
        yield from bps.mv(beamline.energy, energies[0] / 1000, camera.num_images, chunk)
        yield from bps.mv(beamline.shutter, "closed")
        detectors: list[Any] = [camera, beamline.energy]
        yield from bps.trigger_and_read(detectors, name="dark")
        yield from bps.mv(beamline.shutter, "open")
        for energy in energies:
            due = time.monotonic() + period
            if before is not None:
                yield from before()
            yield from one_energy(beamline, energy)
            yield from bps.sleep(max(0.0, due - time.monotonic()))

    try:
        return (yield from scan())
    finally:
        yield from bps.mv(beamline.shutter, "closed")


def operando_charging(beamline: Beamline, scans: int, *, period: float = 0.0) -> Plan:
    """Scan one sample again and again while its electrode charges and deforms.

    Parameters
    ----------
    beamline : the devices.
    scans : number of scans; each is a run of its own.
    period : shortest time from one energy to the next, s.
    """
    for number in range(scans):
        extra = {"operando_scan": number, "operando_scans": scans}
        yield from txm_xanes(beamline, period=period, md=extra)


def measure_matrix(beamline: Beamline, loop: Any, md: Mapping[str, Any] | None = None) -> Plan:
    """Measure how the image follows the stage, in a run of its own at the last energy.

    Afterwards the field is brought back, and looked at once more.

    Parameters
    ----------
    beamline : the devices.
    loop : the `Recentring` that measures.
    md : goes into the start document.
    """
    energy = beamline.settings.scan_energies[-1]
    metadata = {**_metadata(beamline, [energy], 1, md or {}), "plan_name": "measure_matrix"}

    @bpp.run_decorator(md=metadata)
    def test() -> Plan:
        detectors: list[Any] = [beamline.camera, beamline.energy]
        yield from bps.mv(beamline.energy, energy / 1000, beamline.camera.num_images, 1)
        yield from bps.mv(beamline.shutter, "closed")
        yield from bps.trigger_and_read(detectors, name="dark")
        yield from bps.mv(beamline.shutter, "open")
        yield from loop.measure(lambda: one_energy(beamline, energy))
        yield from loop.recentre()
        yield from one_energy(beamline, energy)

    return (yield from test())


def one_energy(beamline: Beamline, energy: float) -> Plan:
    """Take the sample at an energy, eV, then its flat with the sample out of the beam: a stub."""
    detectors: list[Any] = [beamline.camera, beamline.energy]
    stage: Any = beamline.stage.x
    yield from bps.mv(beamline.energy, energy / 1000)
    yield from _set_exposure(beamline, beamline.settings.exposure)
    yield from bps.trigger_and_read(detectors, name="primary")
    home = yield from bps.rd(stage)

    def flat() -> Plan:
        yield from bps.mv(stage, home + OUT_UM)
        yield from _set_exposure(beamline, beamline.settings.flat_exposure)
        yield from bps.trigger_and_read(detectors, name="flat")

    yield from bpp.finalize_wrapper(flat(), lambda: bps.mv(stage, home))


def _set_exposure(beamline: Beamline, seconds: float) -> Plan:
    """Configure the camera, which the RunEngine records with a new descriptor, if need be."""
    camera: Any = beamline.camera
    if camera.acquire_time.get() != seconds:
        yield from bps.configure(camera, {"acquire_time": seconds})


def _metadata(
    beamline: Beamline, energies: Sequence[float], chunk: int, md: Mapping[str, Any]
) -> dict[str, Any]:
    settings = beamline.settings
    return {
        "plan_name": "txm_xanes",
        "sample": f"simulated-{settings.seed}",
        "detectors": [beamline.camera.name],
        "motors": [beamline.energy.name],
        "eng_list": [round(energy / 1000, 6) for energy in energies],
        "num_eng": len(energies),
        "chunk_size": chunk,
        "exposure_time": settings.exposure,
        "pixel_size": settings.pixel_size,
        "hints": {"dimensions": [[[beamline.energy.name], "primary"]]},
        **md,
    }
