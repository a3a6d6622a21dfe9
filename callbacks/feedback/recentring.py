"""Plan stubs that bring the field back to where it was, between energies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from numpy.typing import ArrayLike

from ...models.arrays import Array
from ...streamer.errors import FeedbackError
from .decision import KEPT, Decision, FeedbackSettings, LoopState, MoveRecord, Moves, ahead, decide
from .latest import LatestFrame, LatestResults
from .matrix import (
    KEPT_PAIRS,
    Pair,
    Response,
    StageMatrix,
    check_against,
    first_move,
    fit_matrix,
    pair_of,
    proven,
    refused,
    respond,
)

logger = logging.getLogger(__name__)
Plan = Generator[Any, Any, Any]
_POLL_S = 0.02  # by eye: short beside an exposure


class Recentring:
    """Moves a stage by what the processor says of the drift. Opt-in: nothing moves without it.

    `measure` finds out by small test moves how the image follows the two axes; `recentre`, between
    energies, then takes the drift back. It leaves small drift alone, cuts long moves, refuses what
    is old or uncertain, and checks after each move that the images have followed: if not, it
    stops, and stays so until it measures again. Each decision is an event in the stream
    ``recenter`` of the open run.

    Parameters
    ----------
    latest : hears the results.
    axes : two movables; which moves the image along y and which along x does not matter.
    settings : see `FeedbackSettings`.
    expected : (2, 2) px per unit, rows image (y, x), columns the axes; what is known beforehand.
        `measure` refuses a stage that does otherwise. Without `measure` it is tried with care, but
        a `StageMatrix` that was measured before is believed.
    record : write the events; they need an open run.
    clock : of the RunEngine's process, s since the epoch: it stamps events, too.

    Raises
    ------
    FeedbackError
        The matrix cannot be one.
    """

    def __init__(
        self,
        latest: LatestResults,
        axes: Sequence[Any],
        settings: FeedbackSettings | None = None,
        *,
        expected: ArrayLike | StageMatrix | None = None,
        record: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if len(axes) != 2:
            raise FeedbackError(f"two axes move the image, got {len(axes)}")
        self._latest = latest
        self._axes = tuple(axes)
        self.settings = settings or FeedbackSettings()
        self._expected = None if expected is None else StageMatrix.given(expected)
        self._matrix = self._expected
        self._record = MoveRecord() if record else None
        self._clock = clock
        self._moves = Moves()
        self._proven = self._matrix is not None and self._matrix.measured
        self._refused = ""
        self._pairs: tuple[Pair, ...] = ()
        self._frames: tuple[LatestFrame, ...] = ()
        self._course: tuple[tuple[float, Array], ...] = ()
        self._since: float | None = None

    @property
    def matrix(self) -> StageMatrix | None:
        """Return how the image follows the axes, None if that is not known."""
        return self._matrix

    @property
    def refused(self) -> str:
        """Return why the loop has stopped: reversed or astray; "" while it goes on."""
        return self._refused

    @property
    def moves(self) -> Moves:
        """Return the moves that were made, as shifts of the image."""
        return self._moves

    @property
    def sample_drift(self) -> Array | None:
        """Return the drift of the sample on its stage, (2,) px: of the image less the moves."""
        measured = self._latest.measured
        if measured is None:
            return None
        return measured.drift - self._moves.between(float("-inf"), measured.time)

    def measure(self, take: Callable[[], Plan]) -> Plan:
        """Measure the matrix by small test moves, there and back along each axis; a plan stub.

        Parameters
        ----------
        take : plan stub that takes one frame of the sample, in a run that is open.

        Raises
        ------
        FeedbackError
            No result came, the image did not follow, or it did otherwise than expected; the stage
            is back where it was.
        """
        home = yield from self._where()
        step = self.settings.test_step
        tour = [(0.0, 0.0), (step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step), (0.0, 0.0)]
        seen: list[tuple[Array, LatestFrame]] = []

        def visit() -> Plan:
            for offset in tour:
                yield from self._go(home + offset)
                seen.append((yield from self._look(take)))

        yield from bpp.finalize_wrapper(visit(), lambda: self._go(home))
        measured = fit_matrix(
            [place for place, _ in seen],
            [item.drift for _, item in seen],
            [item.time for _, item in seen],
            self.settings,
        )
        if self._expected is not None:
            check_against(measured, self._expected, self.settings)
        self._matrix = measured
        self._proven, self._refused, self._pairs = True, "", ()
        self._frames, self._since = (), None
        self._course = tuple(
            (item.time, item.drift - measured.to_image(place - home) - self._moves.total)
            for place, item in seen[-KEPT:]
        )
        logger.info("image moves by %s px per unit of the axes", measured.px_per_unit.round(2))

    def recentre(self) -> Plan:
        """Take the drift back, if it is time; a plan stub, called once between two frames.

        It never raises because of what the processor says or does not say.

        Raises
        ------
        FeedbackError
            Nobody knows how the image follows the axes: `measure` first.
        """
        if self._matrix is None:
            raise FeedbackError("how the image follows the axes is not known: measure() first")
        if self._since is not None:
            since = self._since
            yield from self._wait(lambda: self._heard() > since, self.settings.wait_s)
        measured = self._latest.measured
        self._judge(measured)
        decision = self._decide(measured)
        shift, here = yield from self._act(decision)
        acted = bool(np.isfinite(shift).all())
        self._since = self._clock()
        if self._record is not None:
            yield from self._record.write(
                move_y=float(shift[0]),
                move_x=float(shift[1]),
                drift_y=float(decision.drift[0]),
                drift_x=float(decision.drift[1]),
                sigma=float("nan") if measured is None else measured.sigma,
                frame=-1 if measured is None else measured.frame,
                axis_0=float(here[0]),
                axis_1=float(here[1]),
                acted=int(acted),
                reason="limit" if decision.wanted and not acted else decision.reason,
            )

    def per_step(self, inner: Callable[..., Plan] = bps.one_nd_step) -> Callable[..., Plan]:
        """Wrap the ``per_step`` of a bluesky scan: the field is brought back before each step."""

        def recentred_step(
            detectors: Sequence[Any],
            step: Mapping[Any, Any],
            pos_cache: Mapping[Any, Any],
        ) -> Plan:
            yield from self.recentre()
            return (yield from inner(detectors, step, pos_cache))

        return recentred_step

    # -- what is decided ---------------------------------------------------------------------

    def _judge(self, measured: LatestFrame | None) -> None:
        """Check that the images have followed the moves since the last frame."""
        if measured is None or (self._frames and measured.time <= self._frames[-1].time):
            return
        self._frames = (*self._frames, measured)[-3:]
        own = measured.drift - self._moves.between(float("-inf"), measured.time)
        self._course = (*self._course, (measured.time, own))[-KEPT:]
        pair = pair_of(self._frames, self._moves)
        if pair is None:
            return
        self._pairs = (*self._pairs, pair)[-KEPT_PAIRS:]
        seen = self._response()
        self._proven = self._proven or proven(seen)
        if not self._refused and (why := refused(seen, self.settings)):
            self._refused = why
            logger.error(
                "%s: the images follow the moves by a factor of %.1f%+.1fi with an error of %.1f, "
                "where it should be 1; the stage is not moved any more, measure the matrix again",
                why,
                seen.gain.real,
                seen.gain.imag,
                seen.sigma,
            )

    def _response(self) -> Response:
        measured = self._matrix is not None and self._matrix.measured
        return respond(self._pairs, self.settings, measured=measured)

    def _decide(self, measured: LatestFrame | None) -> Decision:
        now = self._clock()
        since = np.zeros(2) if measured is None else self._moves.between(measured.time)
        if self.settings.forecast and self._course:
            times, drifts = zip(*self._course, strict=True)
            since = since + ahead(times, drifts, now)
        known = LoopState(
            measured=measured,
            since=since,
            total=self._moves.total,
            now=now,
            least=0.0 if self._proven else first_move(self._response(), self.settings),
        )
        decision = decide(known, self.settings)
        if self._refused:
            return replace(decision, shift=np.full(2, np.nan), reason=self._refused)
        return decision

    # -- what is done ------------------------------------------------------------------------

    def _act(self, decision: Decision) -> Plan:
        """Move if that is wanted and allowed; the shift made, NaN if none, and the place then."""
        here = yield from self._where()
        unmoved = np.full(2, np.nan)
        if not decision.wanted:
            return unmoved, here
        assert self._matrix is not None
        target = here + self._matrix.to_stage(decision.shift)
        if not self._within_limits(target):
            return unmoved, here
        yield from self._go(target)
        there = yield from self._where()
        shift = self._matrix.to_image(there - here)
        self._moves = self._moves.made(self._clock(), shift)
        return shift, there

    def _within_limits(self, target: Array) -> bool:
        for axis, value in zip(self._axes, target, strict=True):
            check = getattr(axis, "check_value", None)
            try:
                if check is not None:
                    check(float(value))
            except ValueError as error:  # ophyd's LimitError is one
                logger.warning("the field is not brought back: %s", error)
                return False
        return True

    def _go(self, place: Array) -> Plan:
        first, second = self._axes
        yield from bps.mv(first, float(place[0]), second, float(place[1]))

    def _where(self) -> Plan:
        first = yield from bps.rd(self._axes[0])
        second = yield from bps.rd(self._axes[1])
        return np.array([first, second], dtype=np.float64)

    # -- what is waited for ------------------------------------------------------------------

    def _heard(self) -> float:
        heard = self._latest.heard
        return float("-inf") if heard is None else heard

    def _look(self, take: Callable[[], Plan]) -> Plan:
        """Take frames until one is measured: place of the axes and drift."""
        place = yield from self._where()
        for _ in range(self.settings.test_frames):
            yield from self._write_test(place)
            arrived = self._clock()
            yield from take()
            came = yield from self._wait(
                lambda a=arrived: self._heard() > a, self.settings.test_wait_s
            )
            if not came:
                raise FeedbackError(
                    f"no result of a test frame came within {self.settings.test_wait_s:g} s: does "
                    "the processor run, and do its results come here?"
                )
            measured = self._latest.measured
            if measured is not None and measured.time > arrived and self._usable(measured):
                return place, measured
        raise FeedbackError(
            f"the drift could not be measured in {self.settings.test_frames} test frames: are "
            "there particles in the field?"
        )

    def _usable(self, measured: LatestFrame) -> bool:
        settings = self.settings
        enough = measured.particles >= settings.min_particles
        return enough and measured.sigma <= settings.max_sigma_px

    def _write_test(self, place: Array) -> Plan:
        """Record a test move, lest it be taken for a jump; its length is not known yet."""
        if self._record is not None:
            yield from self._record.write(
                axis_0=float(place[0]), axis_1=float(place[1]), acted=1, reason="test"
            )

    def _wait(self, done: Callable[[], bool], longest: float) -> Plan:
        """Let the RunEngine idle until something is so; False if it took too long."""
        deadline = time.monotonic() + longest
        while not done():
            if time.monotonic() >= deadline:
                return False
            yield from bps.sleep(_POLL_S)
        return True
