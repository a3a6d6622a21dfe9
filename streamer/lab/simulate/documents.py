"""Compose a whole simulated run as Bluesky documents, without a RunEngine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from event_model import pack_event_page
from numpy.typing import NDArray

from ...core.frames import Document, NamedDocument
from ...errors import ConfigError
from .settings import SimSettings
from .simulator import Simulator

Flavour = Literal["inline", "event_page"]
Order = Literal["fxi", "flat_first", "flat_last"]
IMAGE_KEY = "txm_image"
ENERGY_KEY = "XEng"
START_TIME = 1_700_000_000.0  # s since the epoch, in November 2023


def simulate_documents(
    settings: SimSettings | None = None,
    flavour: Flavour = "inline",
    order: Order = "fxi",
    chunk: int | None = None,
    *,
    simulator: Simulator | None = None,
    scan: int = 0,
) -> Iterator[NamedDocument]:
    """Yield the documents of one scan; uids and times follow from the settings alone.

    Streams are ``dark``, ``primary`` and ``flat``; every event holds a chunk of images
    (n, H, W) uint16 and the energy in keV, as FXI's plans emit them.

    Parameters
    ----------
    settings : what to simulate; taken from `simulator` if that is given.
    flavour : ``inline`` for events, ``event_page`` for pages of one event each.
    order : ``fxi`` a flat after each energy, ``flat_first`` all flats before the sample,
        ``flat_last`` all flats at the very end of the run.
    chunk : exposures per event, that of the settings if None.
    simulator : an existing simulator, to run several scans of one sample.
    scan : which of its scans.

    Raises
    ------
    ConfigError
        For an unknown flavour or order.
    """
    if flavour not in ("inline", "event_page"):
        raise ConfigError(f"documents flavour: got {flavour!r}; choose inline or event_page")
    if order not in get_args(Order):
        raise ConfigError(
            f"documents order: got {order!r}; choose one of {', '.join(get_args(Order))}"
        )
    sim = simulator or Simulator(settings)
    run = _Run(sim=sim, chunk=chunk or sim.settings.chunk, scan=scan, order=order)
    yield "start", run.start()
    for stream, frame in [("dark", run.first), *_ordered(order, run.frames)]:
        yield from run.event(stream, frame, paged=flavour == "event_page")
    yield "stop", run.stop()


def _ordered(order: str, frames: range) -> list[tuple[str, int]]:
    """List the stream and frame of each event after the dark."""
    sample = [("primary", frame) for frame in frames]
    flats = [("flat", frame) for frame in frames]
    if order == "fxi":
        return [event for pair in zip(sample, flats, strict=True) for event in pair]
    return flats + sample if order == "flat_first" else sample + flats


_SCAN_PAUSE = 60.0  # s between scans, by eye
_QUICK = 0.5  # s that a dark takes, or a flat apart from its sample image, by eye


@dataclass(slots=True, kw_only=True)
class _Run:
    """Composes the documents of one run."""

    sim: Simulator
    chunk: int
    scan: int
    order: str
    counts: dict[str, int] = field(default_factory=dict)
    clock: float = 0.0

    @property
    def first(self) -> int:
        return self.scan * len(self.sim.settings.scan_energies)

    @property
    def frames(self) -> range:
        return range(self.first, self.first + len(self.sim.settings.scan_energies))

    def uid(self, *name: object) -> str:
        address = (self.sim.settings.model_dump_json(), self.order, self.chunk, self.scan, *name)
        return str(uuid5(NAMESPACE_URL, repr(address)))

    def tick(self, stream: str) -> float:
        """Let the time of one event pass; sample images are one period apart in any order."""
        period = self.sim.settings.period
        if self.order == "fxi":
            share = {"dark": _QUICK / period, "primary": 0.6, "flat": 0.4}[stream]
        else:
            share = 1.0 if stream == "primary" else _QUICK / period
        self.clock += share * period
        return self.clock

    def start(self) -> Document:
        s = self.sim.settings
        self.clock = START_TIME + self.scan * (len(s.scan_energies) * s.period + _SCAN_PAUSE)
        return {
            "uid": self.uid("start"),
            "time": self.clock,
            "scan_id": self.scan + 1,
            "plan_name": "txm_xanes",
            "plan_type": "generator",
            "sample": f"simulated-{s.seed}",
            "eng_list": [round(e / 1000, 6) for e in s.scan_energies],
            "num_eng": len(s.scan_energies),
            "chunk_size": self.chunk,
            "exposure_time": s.exposure,
            "pixel_size": s.pixel_size,
            "hints": {"dimensions": [[[ENERGY_KEY], "primary"]]},
        }

    def event(self, stream: str, frame: int, *, paged: bool) -> Iterator[NamedDocument]:
        time = self.tick(stream)
        seq_num = self.counts.get(stream, 0) + 1
        self.counts[stream] = seq_num
        if seq_num == 1:
            yield "descriptor", self.descriptor(stream, time)
        energy = float(self.sim.energies[frame]) / 1000
        images = self.images(stream, frame)
        doc: Any = {
            "uid": self.uid(stream, seq_num),
            "time": time,
            "seq_num": seq_num,
            "descriptor": self.uid(stream),
            "data": {IMAGE_KEY: images, ENERGY_KEY: energy},
            "timestamps": {IMAGE_KEY: time, ENERGY_KEY: time},
            "filled": {},
        }
        yield ("event_page", dict(pack_event_page(doc))) if paged else ("event", doc)

    def images(self, stream: str, frame: int) -> NDArray[np.uint16]:
        if stream == "dark":
            return self.sim.dark(self.chunk)
        if stream == "flat":
            return self.sim.flat(frame, self.chunk)
        return self.sim.exposures(frame, self.chunk)

    def descriptor(self, stream: str, time: float) -> Document:
        s = self.sim.settings
        exposure = s.flat_exposure if stream == "flat" else s.exposure
        return {
            "uid": self.uid(stream),
            "time": time,
            "run_start": self.uid("start"),
            "name": stream,
            "data_keys": data_keys(self.chunk, s.shape),
            "object_keys": {"txm": [IMAGE_KEY], ENERGY_KEY: [ENERGY_KEY]},
            "configuration": {
                "txm": {
                    "data": {"txm_acquire_time": exposure},
                    "timestamps": {"txm_acquire_time": time},
                    "data_keys": {
                        "txm_acquire_time": {
                            "source": "SIM:txm_acquire_time",
                            "dtype": "number",
                            "shape": [],
                            "units": "s",
                        }
                    },
                }
            },
            "hints": {ENERGY_KEY: {"fields": [ENERGY_KEY]}},
        }

    def stop(self) -> Document:
        return {
            "uid": self.uid("stop"),
            "time": self.clock + 0.1,
            "run_start": self.uid("start"),
            "exit_status": "success",
            "reason": "",
            "num_events": dict(self.counts),
        }


def data_keys(chunk: int, shape: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """Describe what an event of the simulated beamline holds."""
    return {
        IMAGE_KEY: {
            "source": "SIM:txm",
            "dtype": "array",
            "dtype_numpy": "<u2",
            "shape": [chunk, *shape],
            "units": "counts",
            "object_name": "txm",
        },
        ENERGY_KEY: {
            "source": "SIM:XEng",
            "dtype": "number",
            "dtype_numpy": "<f8",
            "shape": [],
            "units": "keV",
            "object_name": ENERGY_KEY,
        },
    }
