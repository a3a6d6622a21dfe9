"""The whole comparison, from the simulator to the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ....config import Settings
from ...simulate import SimSettings, Simulator
from ..accuracy.scene import Estimate, peer_estimate
from ..peers import Peer
from .measure import MethodFigures, measure, oracle, position_error
from .series import SPEED_FRAMES, Series, documents_of, make_series, peak_ratio, typical
from .speed import NOT_MEASURED, cost_per_frame, machine, measure_speed, on_cuda, throughputs
from .ways import our_estimate

Progress = Callable[[str, float], object]

ORACLE = "oracle (true positions)"

_NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperResult:
    """What was measured.

    Attributes
    ----------
    series : the frames. particle : the one that is told by itself.
    ratio : peak motion of the others over that of the rigid particle, (y, x).
    measured : by method; ours, then the peers, then the oracle.
    figures : by method, those of `measured` with those of time.
    left_out : why a method has none, by method. notes : on time and devices.
    """

    series: Series
    particle: int
    ratio: tuple[float, float]
    measured: Mapping[str, MethodFigures]
    figures: Mapping[str, Mapping[str, float]]
    left_out: Mapping[str, str]
    notes: Sequence[str]


@dataclass(slots=True)
class _Progress:
    """Steps of equal length, each of some parts."""

    tell: Progress
    steps: int
    done: int = -1

    def step(self, what: str, parts: int = 1) -> Callable[[], None]:
        """Begin the next step; what is returned is to be called after each of its parts."""
        self.done += 1
        self.tell(what, self.done / self.steps)
        count = 0

        def part() -> None:
            nonlocal count
            count += 1
            self.tell(what, (self.done + min(count / parts, 1.0)) / self.steps)

        return part


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    measured: dict[str, MethodFigures] = field(default_factory=dict)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def run_paper(
    simulated: SimSettings,
    ways: Mapping[str, Settings],
    peers: Mapping[str, Peer],
    left_out: Mapping[str, str] | None = None,
    tell: Progress = lambda *_: None,
    speed_frames: int = SPEED_FRAMES,
) -> PaperResult:
    """Compare all methods on one synthetic set.

    Parameters
    ----------
    simulated : the set. ways : settings of ours by name, at least one. peers : by name.
    left_out : ways that cannot run, with the reason.
    tell : is called with what is going on and the share that is done.
    speed_frames : frames of the run that is timed; 0 to leave the clock alone.
    """
    progress = _Progress(tell, 2 + 2 * len(ways) + len(peers))
    table = _Table(left_out=dict(left_out or {}))
    # a dark, then a flat, an image and an image without noise of each frame
    part = progress.step("simulating", 1 + 3 * simulated.n_frames)
    series = make_series(simulated, next(iter(ways.values())), part)
    particle = typical(series.truth)
    for estimate, live in _estimates(series, ways, peers, progress):
        if estimate.failure:
            table.left_out[estimate.name] = estimate.failure
            continue
        found = measure(estimate, series, particle)
        first = _NAN if live is None else position_error(live, series.truth)
        per_100 = estimate.seconds * SPEED_FRAMES / series.truth.n_frames
        table.measured[estimate.name] = found
        table.figures[estimate.name] = {**found.figures, "rms_live": first, "seconds": per_100}
    table.measured[ORACLE] = oracle(series, particle)
    table.figures[ORACLE] = dict(table.measured[ORACLE].figures)
    if speed_frames:
        _time(table, simulated, ways, speed_frames, progress)
    tell("done", 1.0)
    return PaperResult(
        series=series,
        particle=particle,
        ratio=peak_ratio(series.truth),
        measured=table.measured,
        figures=table.figures,
        left_out=table.left_out,
        notes=table.notes,
    )


def _estimates(
    series: Series,
    ways: Mapping[str, Settings],
    peers: Mapping[str, Peer],
    progress: _Progress,
) -> Iterator[tuple[Estimate, Estimate | None]]:
    for name, settings in ways.items():
        part = progress.step(name, len(series.documents))
        yield our_estimate(name, series, settings, part)
    for name, track in peers.items():
        progress.step(name)
        yield peer_estimate(name, track, series.od, series.truth), None


def _time(
    table: _Table,
    simulated: SimSettings,
    ways: Mapping[str, Settings],
    frames: int,
    progress: _Progress,
) -> None:
    """Add the figures of time to those of ours."""
    part = progress.step("simulating for the clock", 1 + 2 * frames)
    timed = simulated.model_copy(update={"n_energies": frames})
    documents = documents_of(Simulator(timed), part)
    for name, settings in ways.items():
        part = progress.step(f"{name}: time", len(documents))
        process = settings.process
        where = machine(process.device, process.thread_count)
        speed = measure_speed(documents, settings, progress=part)
        cost = cost_per_frame(documents, settings)
        table.figures[name] |= {
            "seconds": speed.seconds * SPEED_FRAMES / speed.frames,
            "processor": speed.processor * SPEED_FRAMES / speed.frames,
            "stop": speed.stop,
            "median": 1e3 * speed.median,
            "gflop": cost.flops / 1e9,
            "gigabytes": cost.bytes / 1e9,
        }
        table.notes.append(
            f"time of {name}: {speed.frames} frames in {speed.seconds:.2f} s "
            f"({speed.processor:.2f} s of processors), {speed.particles:.0f} particles, on {where}"
        )
        on_device = [str(found) for found in throughputs(settings, simulated.seed)]
        if on_cuda(settings):
            table.notes.extend(f"CUDA, {name}: {line}" for line in on_device)
    if not any(on_cuda(settings) for settings in ways.values()):
        table.notes.append(f"frames per second on a GPU, at 460 and 2048 px: {NOT_MEASURED}")
