"""Run the simulated beamline as a process of its own: RunEngine, scans, 0MQ publisher."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import msgpack_numpy
from bluesky import RunEngine
from bluesky.callbacks.zmq import Publisher

from .devices import logger, make_beamline
from .plans import operando_charging
from .settings import PRESETS, preset


def make_publisher(address: str) -> Publisher:
    """Make bluesky's own 0MQ publisher with msgpack, as a beamline would.

    Parameters
    ----------
    address : ``HOST:PORT`` of the proxy's input.
    """
    serializer = partial(msgpack.packb, default=msgpack_numpy.encode)
    return Publisher(address, serializer=serializer)


def main() -> int:
    """Run scans of a simulated sample and publish them; returns the exit code."""
    options = _parse()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    changes: dict[str, Any] = {"seed": options.seed, "scans": options.scans}
    for name in ("n_energies", "chunk"):
        if getattr(options, name) is not None:
            changes[name] = getattr(options, name)
    beamline = make_beamline(preset(options.preset, **changes))
    publisher = make_publisher(options.proxy)
    # PUB sockets drop what nobody has subscribed to yet, and do not tell when somebody has.
    time.sleep(options.settle)
    engine = RunEngine({})
    engine.subscribe(publisher)
    period = 1 / options.rate if options.rate > 0 else 0.0
    try:
        engine(operando_charging(beamline, options.scans, period=period))
        logger.info("published %d frames", len(beamline.sample.taken))
    finally:
        if options.truth is not None:
            beamline.sample.truth().save(options.truth)
        publisher.close()
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulated beamline", description=__doc__)
    add = parser.add_argument
    add("--proxy", default="127.0.0.1:5577", help="HOST:PORT of the proxy's input")
    add("--preset", default="paper", choices=list(PRESETS), help="what to simulate")
    add("--energies", dest="n_energies", type=int, help="energies per scan")
    add("--chunk", type=int, help="exposures per event")
    add("--scans", type=int, default=1, help="scans of the same sample, one after the other")
    add("--seed", type=int, default=0, help="seed of everything random")
    add("--rate", type=float, default=0.0, help="energies per second; 0 is as fast as it goes")
    add("--settle", type=float, default=1.0, help="wait for subscribers before the scan, s")
    add("--truth", type=Path, help="write the truth to this .npz file at the end")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
