"""A sample that creeps out of the field, with and without a feedback loop that brings it back."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from bluesky import RunEngine

from ....callbacks.feedback import FeedbackSettings, LatestResults, Recentring, ResultListener
from ....callbacks.publisher import FramePublisher
from ...errors import FeedbackError
from ...service.tiled_server import free_port
from ..rig import RigError, start_proxy, start_service
from ..simulate import SimSettings, ni_edge_energies
from ..simulate.devices import Beamline, Mounting, askew, make_beamline, steady_creep
from ..simulate.plans import measure_matrix, txm_xanes
from .harness import Column, Progress, Table, no_progress

Plan = Generator[Any, Any, Any]
_TEST_FRAMES = 12  # of the test moves before the scan
_WAIT_S = 120.0  # by eye: for the end of a run's results


@dataclass(frozen=True, slots=True, kw_only=True)
class RecenterSettings:
    """Sample, scan and stage.

    Attributes
    ----------
    energies : of the scan. side : of a frame, px. particles : in the field at first.
    creep_px : how far the sample creeps during the scan, px. direction_deg : 90 is along +y.
    turned_deg : of the stage against the camera; its x axis is mirrored as well.
    """

    energies: int = 40
    side: int = 180
    particles: int = 6
    creep_px: float = 60.0
    direction_deg: float = 35.0
    turned_deg: float = 12.0
    seed: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFigures:
    """Figures of one scan.

    Attributes
    ----------
    frames : of the scan. seen : particles that were ever tracked. lost : of them, given up.
    warned : of those lost, told to be leaving before.
    off_rms, off_max : true distance of the field from where it began, px.
    out : particles whose centre was out of the field at the end, in truth.
    moves : that the loop made. told : of them, in the advice of the results.
    refused : why the loop stopped, if it did.
    """

    frames: int
    seen: int
    lost: int
    warned: int
    off_rms: float
    off_max: float
    out: int
    moves: int
    told: int
    refused: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecenterFigures:
    """Figures of all scans.

    Attributes
    ----------
    without, with_loop : the same scan, left alone and brought back.
    matrix_error : of the measured matrix, largest entry of the difference from the true one in
        units of its size, 1.
    reversed_given : a scan with a matrix of the wrong sign that nobody has measured.
    reversed_measured : what the test moves say to that matrix before anything else is moved.
    """

    without: ScanFigures
    with_loop: ScanFigures
    matrix_error: float
    reversed_given: ScanFigures
    reversed_measured: str


@dataclass(slots=True)
class Heard:
    """Subscriber that keeps what the figures are made of, for the run that is going on."""

    states: dict[int, set[str]] = field(default_factory=dict)
    leaving: set[int] = field(default_factory=set)
    advice: list[Mapping[str, Any]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a result document."""
        if name == "stop":
            self.stopped.set()
        data = doc["data"] if name == "event" else {}
        # what a second look at the scan revises is no news of that moment
        if "state" in data and data["revision"] == 0:
            self.states.setdefault(data["particle"], set()).add(data["state"])
        elif "severity" in data:
            self.advice.append(data)
            if data["kind"] == "leaving":
                self.leaving.add(data["particle"])

    def forget(self) -> None:
        """Begin with a further run."""
        self.states, self.leaving, self.advice = {}, set(), []
        self.stopped.clear()

    def wait_stop(self) -> None:
        """Wait for the end of the result run.

        Raises
        ------
        RigError
            It does not come.
        """
        if not self.stopped.wait(_WAIT_S):
            raise RigError(f"the results of a run did not end within {_WAIT_S:.0f} s")


class RecenterRig:
    """Two proxies and the service as processes; a RunEngine and its devices here.

    Parameters
    ----------
    settings : what is simulated. folder : for logs. stack : ends all of it.
    """

    def __init__(self, settings: RecenterSettings, folder: Path, stack: ExitStack) -> None:
        self.settings = settings
        self._raw_in, raw_out = free_port(), free_port()
        results_in, self._results_out = free_port(), free_port()
        for name, ports in (
            ("raw", (self._raw_in, raw_out)),
            ("results", (results_in, self._results_out)),
        ):
            (folder / name).mkdir(parents=True, exist_ok=True)
            stack.enter_context(start_proxy(folder / name, *ports))
        arguments = ["--zmq", f"127.0.0.1:{raw_out}", "--publish", f"127.0.0.1:{results_in}"]
        service = start_service(folder, [*arguments, "--profile", "sim_txm"])
        self.service = stack.enter_context(service)
        frames = settings.energies + _TEST_FRAMES
        creep = steady_creep(settings.creep_px, settings.direction_deg, frames, settings.energies)
        self.mounting = Mounting(matrix=askew(settings.turned_deg, mirrored=True), creep=creep)

    @contextmanager
    def beamline(self) -> Iterator[tuple[RunEngine, Beamline, LatestResults, Heard]]:
        """Set up a RunEngine that publishes, a new sample, and two subscribers of the results."""
        latest, heard = LatestResults(), Heard()
        with ExitStack() as stack:
            address = f"127.0.0.1:{self._results_out}"
            listener = stack.enter_context(ResultListener(address, latest, heard))
            publisher = FramePublisher(f"127.0.0.1:{self._raw_in}")
            stack.callback(publisher.close)
            if not (publisher.wait_connected(20) and listener.wait_ready(20)):
                raise RigError("the proxies do not answer")
            engine = stack.enter_context(run_engine())
            engine.subscribe(publisher)
            yield engine, make_beamline(_simulated(self.settings), self.mounting), latest, heard

    def energies(self) -> tuple[float, ...]:
        """Return the energies of the scan, eV."""
        return tuple(float(e) for e in ni_edge_energies(self.settings.energies))


def measure_recenter(
    settings: RecenterSettings, folder: Path, progress: Progress = no_progress
) -> RecenterFigures:
    """Scan one and the same sample without the loop, with it, and with a matrix of a wrong sign.

    Raises
    ------
    RigError
        A process does not start, or a run does not end.
    """
    with ExitStack() as stack:
        rig = RecenterRig(settings, folder, stack)
        progress("without the loop", 0, 3)
        without = scan_alone(rig)
        progress("with the loop", 1, 3)
        with_loop, error = scan_with_loop(rig)
        progress("with a matrix of the wrong sign", 2, 3)
        given, measured = scan_reversed(rig)
    return RecenterFigures(
        without=without,
        with_loop=with_loop,
        matrix_error=error,
        reversed_given=given,
        reversed_measured=measured,
    )


_ROWS = {
    "frames": "frames",
    "off_rms": "field off, px rms",
    "off_max": "field off at most, px",
    "seen": "particles followed",
    "out": "out of the field at the end",
    "lost": "lost",
    "warned": "told to be leaving before",
    "moves": "moves of the stage",
    "told": "of them told in the results",
    "refused": "the loop stopped",
}


def table(figures: RecenterFigures) -> Table:
    """Lay out the three scans side by side."""
    scans = {
        "left alone": figures.without,
        "brought back": figures.with_loop,
        "wrong sign": figures.reversed_given,
    }
    rows = []
    for key, label in _ROWS.items():
        values = {name: getattr(scan, key) for name, scan in scans.items()}
        texts = {n: f"{v:.2f}" if isinstance(v, float) else str(v) for n, v in values.items()}
        rows.append({"": label, **texts})
    return Table("one sample, three scans", [Column(key, key) for key in ("", *scans)], rows)


def faults(figures: RecenterFigures, limit: float) -> list[str]:
    """Tell what should have been otherwise; `limit` is of the field's distance, px."""
    checks = {
        "the field did not leave without the loop": figures.without.out > 0,
        "particles were lost with the loop": figures.with_loop.lost == 0,
        f"the field was more than {limit:g} px off": figures.with_loop.off_max <= limit,
        "a wrong sign was not noticed before a second move": figures.reversed_given.moves == 1
        and figures.reversed_given.refused == "reversed",
        "test moves did not notice a wrong sign": bool(figures.reversed_measured),
    }
    return [text for text, well in checks.items() if not well]


def scan_alone(rig: RecenterRig) -> ScanFigures:
    """Let the sample creep."""
    with rig.beamline() as (engine, beamline, _, heard):
        engine(txm_xanes(beamline, rig.energies(), md={"sample": "without"}))
        heard.wait_stop()
        return _figures(beamline, heard, len(rig.energies()))


def scan_with_loop(rig: RecenterRig) -> tuple[ScanFigures, float]:
    """Measure the matrix, then bring the sample back before each energy."""
    with rig.beamline() as (engine, beamline, latest, heard):
        loop = Recentring(latest, (beamline.stage.y, beamline.stage.x), loop_settings())
        engine(measure_matrix(beamline, loop, {"sample": "with"}))
        heard.wait_stop()
        heard.forget()
        before = len(loop.moves.times)
        engine(txm_xanes(beamline, rig.energies(), before=loop.recentre, md={"sample": "with"}))
        heard.wait_stop()
        assert loop.matrix is not None
        true = rig.mounting.px_per_um(beamline.settings.pixel_size)
        error = float(np.abs(loop.matrix.px_per_unit - true).max() / np.abs(true).max())
        figures = _figures(beamline, heard, len(rig.energies()), loop)
        return replace(figures, moves=figures.moves - before), error


def scan_reversed(rig: RecenterRig) -> tuple[ScanFigures, str]:
    """Believe a matrix of the wrong sign: without test moves, and with them."""
    with rig.beamline() as (engine, beamline, latest, heard):
        axes = (beamline.stage.y, beamline.stage.x)
        wrong = -rig.mounting.px_per_um(beamline.settings.pixel_size)
        loop = Recentring(latest, axes, loop_settings(), expected=wrong)
        some = rig.energies()[-20:]
        engine(txm_xanes(beamline, some, before=loop.recentre, md={"sample": "reversed"}))
        heard.wait_stop()
        figures = _figures(beamline, heard, len(some), loop)
        careful = Recentring(latest, axes, loop_settings(), expected=wrong)
        said: list[str] = []
        engine(_refused(measure_matrix(beamline, careful, {"sample": "reversed"}), said))
        return figures, said[0] if said else ""


def _refused(plan: Plan, said: list[str]) -> Plan:
    """Run a plan that is expected to fail; keep what it says."""
    try:
        yield from plan
    except FeedbackError as error:
        said.append(str(error))


def loop_settings() -> FeedbackSettings:
    """Make settings of the loop: results are waited for, however busy the machine."""
    return FeedbackSettings(wait_s=20.0, dead_band_px=1.0)


@contextmanager
def run_engine() -> Iterator[RunEngine]:
    """Make a RunEngine and close its event loop afterwards, which bluesky itself never does."""
    engine = RunEngine({}, call_returns_result=False)
    try:
        yield engine
    finally:
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join()  # noqa: SLF001 - there is no other way to wait for it
        engine.loop.close()


def _simulated(settings: RecenterSettings) -> SimSettings:
    frames = settings.energies + _TEST_FRAMES
    return SimSettings(
        seed=settings.seed,
        shape=(settings.side, settings.side),
        n_particles=settings.particles,
        radius_px=(settings.side / 15, settings.side / 11),
        energies=tuple(float(e) for e in ni_edge_energies(frames)),
        chunk=1,
        jitter_px=0.3,
        drift_px=2.0,
        wander_px=1.0,
    )


def _figures(
    beamline: Beamline, heard: Heard, frames: int, loop: Recentring | None = None
) -> ScanFigures:
    truth = beamline.sample.truth()
    moved = truth.stage + truth.shift
    # true distance of the field from where it began
    off = np.linalg.norm(moved - moved[0], axis=1)[-frames:]
    last = truth.yx[-1]
    lost = {p for p, states in heard.states.items() if "lost" in states}
    return ScanFigures(
        frames=frames,
        seen=sum("tracked" in states for states in heard.states.values()),
        lost=len(lost),
        warned=len(lost & heard.leaving),
        off_rms=float(np.sqrt(np.mean(off**2))),
        off_max=float(off.max()),
        out=int(((last < 0) | (last > truth.shape - 1)).any(axis=1).sum()),
        told=sum(bool(item["acted"]) for item in heard.advice),
        moves=0 if loop is None else len(loop.moves.times),
        refused="" if loop is None else loop.refused,
    )
