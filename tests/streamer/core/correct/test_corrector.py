"""Order of flats, revisions, darks, refused frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from operando.streamer.core.correct import (
    BadFrameError,
    Correction,
    CorrectorState,
    CorrectSettings,
    apply,
    finish,
    init,
    skip,
    update,
)
from operando.streamer.core.frames import Frame, FrameKey, OpticalDensityFrame, Role

SHAPE = (128, 160)
OD_BACKGROUND = 0.3
OD_PARTICLE = 0.9


def light(energy: float) -> np.ndarray:
    """Counts/s of the illumination; brightness depends on the energy."""
    y, x = np.indices(SHAPE) / np.array(SHAPE)[:, None, None]
    return (2000 + 20 * (energy - 8300)) * np.exp(-2 * ((y - 0.45) ** 2 + (x - 0.6) ** 2))


def particle() -> np.ndarray:
    y, x = np.indices(SHAPE)
    return (y - 60) ** 2 + (x - 90) ** 2 < 20**2


def truth() -> np.ndarray:
    return OD_BACKGROUND + OD_PARTICLE * particle()


@dataclass
class Run:
    """Feeds frames and corrects the raw images like the shell does."""

    settings: CorrectSettings = field(default_factory=CorrectSettings)
    state: CorrectorState = field(default_factory=init)
    raw: dict[int, np.ndarray] = field(default_factory=dict)
    seq_num: int = 0
    dark: float = 0.0

    def feed(self, role: Role, energy: float | None, image: np.ndarray, exposure: float | None):
        self.seq_num += 1
        key = FrameKey(run="r", stream=role.value, data_key="camera", seq_num=self.seq_num)
        frame = Frame(
            key=key,
            role=role,
            energy=energy,
            exposure=exposure,
            time=float(self.seq_num),
            image=image.astype(np.float32),
        )
        if role is Role.SAMPLE:
            self.raw[self.state.count] = frame.image
        self.state, corrections = update(self.state, frame, self.settings)
        return corrections

    def sample(self, energy: float, exposure: float | None = 0.5) -> tuple[Correction, ...]:
        image = light(energy) * (exposure or 1) * np.exp(-truth()) + self.dark
        return self.feed(Role.SAMPLE, energy, image, exposure)

    def flat(self, energy: float, exposure: float | None = 0.3) -> tuple[Correction, ...]:
        image = light(energy) * (exposure or 1) + self.dark
        return self.feed(Role.FLAT, energy, image, exposure)

    def finish(self) -> tuple[Correction, ...]:
        self.state, corrections = finish(self.state, self.settings)
        return corrections

    def od(self, correction: Correction) -> OpticalDensityFrame:
        return apply(self.raw[correction.frame], correction, self.settings)


def facts(corrections: tuple[Correction, ...]) -> list[tuple[int, int, bool, bool]]:
    return [(c.frame, c.revision, c.provisional, c.final) for c in corrections]


def assert_true_od(corrected: OpticalDensityFrame) -> None:
    assert corrected.valid.mean() > 0.85
    assert np.abs(corrected.od - truth())[corrected.valid].max() < 1e-3
    assert (corrected.od[~corrected.valid] == 0).all()


def test_flat_of_the_same_energy_first_is_final_at_once():
    run = Run()
    assert run.flat(8300) == ()
    (first,) = run.sample(8300)
    (second,) = run.sample(8300.1)
    assert facts((first, second)) == [(0, 0, False, True), (1, 0, False, True)]
    assert_true_od(run.od(first))
    assert run.finish() == ()


def test_a_single_flat_before_all_samples_is_not_provisional_and_stays():
    run = Run()
    run.flat(8300)
    made = [run.sample(energy)[0] for energy in (8300, 8310, 8320)]
    assert [c.provisional for c in made] == [False, False, False]
    assert [c.final for c in made] == [True, False, False]
    assert run.finish() == ()


def test_a_flat_that_comes_later_corrects_the_single_flat():
    run = Run()
    run.flat(8300)
    run.sample(8300)
    (early,) = run.sample(8310)
    assert facts((early,)) == [(1, 0, False, False)]
    run.flat(8310)
    corrections = run.sample(8320)
    assert facts(corrections) == [(1, 1, False, True), (2, 0, True, False)]
    assert_true_od(run.od(corrections[0]))


def test_flat_after_each_energy_gives_one_revision_when_the_flats_are_complete():
    run = Run()
    first = [c for _ in range(3) for c in run.sample(8300)]
    assert facts(tuple(first)) == [(0, 0, True, False), (1, 0, True, False), (2, 0, True, False)]
    assert {c.reference.source for c in first} == {"estimate"}
    assert [run.flat(8300) for _ in range(10)] == [()] * 10
    second = run.sample(8310)
    assert facts(second) == [
        (0, 1, False, True),
        (1, 1, False, True),
        (2, 1, False, True),
        (3, 0, True, False),
    ]
    for correction in second[:3]:
        assert_true_od(run.od(correction))
    assert second[3].reference.source == "flat"
    run.flat(8310)
    last = run.finish()
    assert facts(last) == [(3, 1, False, True)]
    assert_true_od(run.od(last[0]))
    assert run.state.pending == ()


def test_flat_of_another_energy_is_scaled_so_that_the_background_stays():
    run = Run()
    assert run.od(run.sample(8300)[-1]).estimated
    run.flat(8300)
    provisional = run.sample(8330)[-1]
    assert provisional.provisional
    assert not run.od(provisional).estimated
    background = run.od(provisional).od[~particle() & run.od(provisional).valid]
    # Unscaled, the brighter beam would put it at 0.3 - ln(2600 / 2000) = 0.04.
    assert abs(np.median(background) - OD_BACKGROUND) < 0.02


def test_flats_at_the_end_finish_all_frames_in_order():
    run = Run()
    energies = (8300, 8310, 8320)
    assert all(c.provisional for energy in energies for c in run.sample(energy))
    emitted = [c for energy in energies for c in run.flat(energy)] + list(run.finish())
    assert facts(tuple(emitted)) == [(0, 1, False, True), (1, 1, False, True), (2, 1, False, True)]
    for correction in emitted:
        assert_true_od(run.od(correction))


def test_one_flat_at_the_end_serves_all_energies():
    run = Run()
    for energy in (8300, 8310, 8320):
        run.sample(energy)
    assert run.flat(8310) == ()
    finals = run.finish()
    assert facts(finals) == [(0, 1, False, True), (1, 1, False, True), (2, 1, False, True)]
    assert {correction.reference.energy for correction in finals} == {8310}


def test_a_missing_flat_is_replaced_by_the_nearest_at_the_end():
    run = Run()
    run.sample(8300)
    run.flat(8300)
    run.sample(8316)
    run.sample(8320)
    run.flat(8320)
    finals = run.finish()
    assert facts(finals) == [(1, 1, False, True), (2, 1, False, True)]
    assert finals[0].reference.energy == 8320
    assert finals[0].note


def test_without_any_flat_nothing_is_revised():
    run = Run()
    run.sample(8300)
    run.sample(8310)
    assert run.finish() == ()


def test_the_same_energy_again_uses_its_fresh_flat():
    run = Run()
    run.flat(8300)
    run.sample(8300)
    run.flat(8310)
    fresh = 1.5 * light(8300) * 0.3
    run.feed(Role.FLAT, 8300, fresh, 0.3)
    (correction,) = run.sample(8300)
    expected = np.log(fresh[60, 60])
    assert correction.reference.log_counts[60, 60] == pytest.approx(expected, abs=1e-4)


def test_estimated_illumination_leaves_particles_standing():
    run = Run()
    (correction,) = run.sample(8300)
    corrected = run.od(correction)
    inside, outside = particle() & corrected.valid, ~particle() & corrected.valid
    assert np.median(corrected.od[inside]) > 0.75 * OD_PARTICLE
    assert np.abs(corrected.od[outside]).mean() < 0.05


@pytest.mark.parametrize("when", ["before", "after"])
def test_dark_is_subtracted_from_both(when: str):
    run = Run(dark=100.0)
    dark = np.full(SHAPE, 100.0)
    if when == "before":
        run.feed(Role.DARK, 8300, dark - 1, 0.5)
        run.feed(Role.DARK, 8300, dark + 1, 0.5)
    run.flat(8300)
    if when == "after":
        run.sample(8300)
        run.feed(Role.DARK, 8300, dark, 0.5)
    correction = run.sample(8300)[-1]
    assert correction.note == ""
    assert_true_od(run.od(correction))


def test_exposures_can_be_left_alone():
    run = Run(settings=CorrectSettings(normalise_exposure=False))
    run.flat(8300, exposure=0.3)
    (correction,) = run.sample(8300, exposure=0.5)
    shift = run.od(correction).od[64, 40] - truth()[64, 40]
    assert shift == pytest.approx(-np.log(0.5 / 0.3), abs=1e-3)


def test_bad_pixels_are_masked():
    rng = np.random.default_rng(3)
    flat = rng.poisson(light(8300)).astype(float)
    flat[50, 50], flat[70, 100], flat[80, 20] = 30000, 0, np.nan
    run = Run()
    run.feed(Role.FLAT, 8300, flat, 1.0)
    image = rng.poisson(light(8300) * np.exp(-truth())).astype(float)
    image[90, 90], image[91, 95], image[40, 40] = np.nan, np.inf, 0
    (correction,) = run.feed(Role.SAMPLE, 8300, image, 1.0)
    corrected = run.od(correction)
    bad = [(50, 50), (70, 100), (80, 20), (90, 90), (91, 95), (0, 0), (127, 159)]
    assert not any(corrected.valid[place] for place in bad)
    # No count through a thick particle is a measurement: it is the thickest that can be said.
    assert corrected.valid[40, 40]
    assert corrected.od[40, 40] == run.settings.od_max
    assert corrected.valid[10:-10, 10:-10].mean() > 0.99
    assert np.isfinite(corrected.od).all()


def test_dim_sides_are_masked():
    x = np.arange(SHAPE[1])
    flat = np.broadcast_to(np.where(x < 30, 10.0, 2000.0), SHAPE)
    run = Run()
    run.feed(Role.FLAT, 8300, flat, 1.0)
    (correction,) = run.feed(Role.SAMPLE, 8300, flat * 0.5, 1.0)
    corrected = run.od(correction)
    assert not corrected.valid[:, :29].any()
    assert corrected.valid[10:-10, 40:-10].all()


def test_noise_is_measured():
    rng = np.random.default_rng(5)
    counts = 400.0
    run = Run()
    run.feed(Role.FLAT, 8300, np.full(SHAPE, counts), 1.0)
    (correction,) = run.feed(Role.SAMPLE, 8300, rng.poisson(counts, SHAPE), 1.0)
    assert run.od(correction).sigma == pytest.approx(counts**-0.5, rel=0.1)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full(SHAPE, 1.0), "blank"),
        (np.full(SHAPE, 65535.0), "saturated"),
        (np.full(SHAPE, np.nan), "nan"),
        (np.full((64, 64), 1000.0), "shape"),
        (np.zeros(SHAPE), "blank"),
    ],
)
@pytest.mark.parametrize("role", [Role.SAMPLE, Role.FLAT])
def test_unusable_frames_are_refused_with_their_reason(image, reason, role):
    run = Run()
    run.flat(8300)
    run.sample(8300)
    before = run.state
    with pytest.raises(BadFrameError) as caught:
        run.feed(role, 8300, image, 0.5)
    assert caught.value.reason == reason
    assert run.state is before
    run.state, index = skip(run.state)
    assert index == 1
    assert run.sample(8300)[-1].frame == 2


def test_a_first_frame_without_light_is_blank():
    run = Run()
    with pytest.raises(BadFrameError, match="beam"):
        run.feed(Role.SAMPLE, 8300, np.zeros(SHAPE), 0.5)


def test_wrong_image_for_a_correction_is_refused():
    run = Run()
    run.flat(8300)
    (correction,) = run.sample(8300)
    with pytest.raises(BadFrameError):
        apply(np.ones((10, 10)), correction, run.settings)


@pytest.mark.parametrize(
    "settings",
    [CorrectSettings(max_flats=4), CorrectSettings(flat_memory_mb=4.5 * 5 * 128 * 160 / 1e6)],
)
def test_flats_in_memory_are_bounded(settings):
    run = Run(settings=settings)
    for energy in range(8300, 8320):
        run.flat(energy)
    assert len(run.state.flats) == 4
    assert run.state.flats[-1].energy == 8319
    assert min(flat.energy for flat in run.state.flats) == 8300


def test_pending_frames_are_bounded_and_hold_no_images():
    run = Run(settings=CorrectSettings(max_pending=5))
    for _ in range(9):
        run.sample(8300)
    assert [pending.frame for pending in run.state.pending] == [4, 5, 6, 7, 8]
    assert all(pending.coarse.size < 128 * 128 for pending in run.state.pending)


def test_same_frames_same_results():
    first, second = Run(), Run()
    for run in (first, second):
        run.sample(8300)
        run.flat(8300)
    a, b = first.sample(8310), second.sample(8310)
    for one, other in zip(a, b, strict=True):
        assert np.array_equal(first.od(one).od, second.od(other).od)
