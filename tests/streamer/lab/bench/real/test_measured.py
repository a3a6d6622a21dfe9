"""The processor on real data whose motion is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from operando.streamer.config import load_settings
from operando.streamer.lab.bench.real_injected import (
    PARTICLES,
    Injected,
    draw_injected,
    measure_injected,
)
from operando.streamer.lab.bench.real_nca import (
    MAGNIFICATION,
    MAGNIFICATION_TOLERANCE,
    PROFILE,
    REPEAT_PX,
    NcaResult,
    draw_nca,
    measure_nca,
)
from operando.streamer.lab.bench.real_stack import stxm_settings

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def injected(shared_data) -> Injected:
    pytest.importorskip("pystackreg")
    peers = ("stackreg_first",)
    return measure_injected(shared_data, stxm_settings("cpu"), scale=3.0, peers=peers)


@pytest.fixture(scope="module")
def nca(shared_data) -> NcaResult:
    return measure_nca(shared_data, load_settings(PROFILE, {"process": {"device": "cpu"}}))


def test_every_frame_is_measured(injected):
    assert np.isfinite(injected.errors[PARTICLES]).all()


def test_the_free_ball_follows_the_motion_over_the_edge(injected):
    """It holds no iron, touches nothing and lies whole in every frame."""
    scores = injected.particle_scores()
    (ball,) = scores[scores["area"].between(110, 150)].to_dict("records")
    assert ball["frames"] == 123
    assert ball["median"] < 0.17
    assert ball["step"] < 0.3


def test_the_motion_of_all_is_measured_to_a_few_hundredths_over_the_edge(injected):
    moved = injected.score(PARTICLES)["moved"]
    assert moved.median < 0.05
    assert moved.p95 < 0.1
    assert moved.step < 0.08


def test_what_the_motion_alone_brings_can_be_measured_to_a_few_hundredths(injected):
    """Of images and truth together: were either off, no method could be this close."""
    score = injected.score("stackreg_first")
    assert score["moved"].median < 0.1
    assert score["at_rest"].median < 0.06
    assert score["beyond_rest"].median < 0.06


def test_injected_results_can_be_written(injected, tmp_path):
    summary = json.loads(json.dumps(injected.summary()))
    assert summary["frames"] == 123
    assert set(summary["methods"]) == set(injected.errors)
    draw_injected(injected).savefig(tmp_path / "injected.png", dpi=30)
    assert (tmp_path / "injected.png").stat().st_size > 10_000


def test_repeats_and_energies_are_all_there(nca):
    assert sorted(nca.energies) == [8324.0] * 3 + [8354.0] * 3
    assert [pair.frames for pair in nca.ours.repeats] == [
        (0, 1),
        (0, 2),
        (1, 2),
        (3, 4),
        (3, 5),
        (4, 5),
    ]
    assert nca.whole.sum() >= 10
    # the stage comes back to the same place between the repeats of one energy
    assert max(np.abs(pair.shift).max() for pair in nca.ours.repeats) < 1.0


def test_repeats_agree_for_every_whole_particle(nca):
    for ours, edges in zip(nca.ours.repeats, nca.edges.repeats, strict=True):
        assert ours.particles >= 9
        assert ours.largest < REPEAT_PX
        assert ours.rms < 0.16
        assert ours.rms < 1.4 * edges.rms


def test_every_whole_particle_is_matched_wherever_it_was_measured(nca):
    """From the second frame on; the first makes the templates."""
    later = np.isfinite(nca.positions[..., 0])
    later[later.argmax(axis=0), np.arange(later.shape[1])] = False
    assert nca.fitted[:, nca.whole][later[:, nca.whole]].all()
    assert later[:, nca.whole].sum() >= 50


def test_the_image_shrinks_with_the_energy(nca):
    fit = nca.ours.similarity
    np.testing.assert_allclose(fit.shift, (19.8, 9.6), atol=0.5)
    assert fit.scale == pytest.approx(MAGNIFICATION, abs=MAGNIFICATION_TOLERANCE)
    assert fit.scale_sigma < 0.0015


def test_the_edges_of_the_particles_repeat(nca):
    """What is in the images, whatever the processor makes of them."""
    assert max(pair.rms for pair in nca.edges.repeats) < 0.3
    assert nca.edges.similarity.scale == pytest.approx(MAGNIFICATION, abs=0.002)


def test_nca_results_can_be_written(nca, tmp_path):
    summary = json.loads(json.dumps(nca.summary()))
    assert len(summary["ours"]["repeats"]) == 6
    draw_nca(nca).savefig(tmp_path / "nca.png", dpi=30)
    assert (tmp_path / "nca.png").stat().st_size > 10_000
