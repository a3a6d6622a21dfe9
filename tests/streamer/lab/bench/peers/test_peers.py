"""A peer that we compare ourselves with must work where its own assumptions hold."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from operando.streamer.errors import ConfigError
from operando.streamer.lab.bench.peers import PEERS, PeerStart, make_peer

from .conftest import RADII, SHAPE, scene

SHIFTS = np.array([[0, 0], [2.3, -1.4], [-3.7, 4.6], [1.5, 7.25], [6.1, -5.8], [-0.45, 0.3]])
TURNING = ("sift_affine", "stackreg_first", "stackreg_previous", "flow_tvl1", "flow_ilk")


@pytest.fixture(scope="module")
def shifted():
    return scene(SHIFTS)


def errors(result, truth, start):
    """Distance from the truth, px; what a peer takes for the centre of a particle is its own."""
    error = result.yx - truth.yx
    error -= error[start.frame0]
    return np.hypot(error[..., 0], error[..., 1])


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("frame0", [0, 3])
def test_finds_known_shifts(shifted, name, frame0):
    start = shifted.start(frame0)
    result = make_peer(name)(shifted.stack, shifted.energies, start)
    assert result.yx.shape == shifted.yx.shape
    assert result.yx.dtype == np.float64
    assert np.sqrt(np.mean(errors(result, shifted, start) ** 2)) < 0.15
    assert errors(result, shifted, start).max() < 0.4


@pytest.mark.parametrize("name", TURNING)
def test_follows_a_rotation_where_it_claims_to(name):
    turned = scene(SHIFTS[:4], turns=[0, 1.0, 2.0, 2.5])
    start = turned.start()
    result = make_peer(name)(turned.stack, turned.energies, start)
    motion = turned.yx - turned.yx[0]
    assert np.abs(motion - motion.mean(axis=1, keepdims=True)).max() > 2
    assert np.sqrt(np.mean(errors(result, turned, start) ** 2)) < 0.3


@pytest.mark.parametrize("name", ["tvdm", "relative_correlation", "roi_first", "stackreg_first"])
def test_survives_a_contrast_that_grows(name):
    brighter = scene(SHIFTS[:4], gains=[0.5, 0.8, 1.4, 2.0])
    start = brighter.start()
    result = make_peer(name)(brighter.stack, brighter.energies, start)
    assert np.sqrt(np.mean(errors(result, brighter, start) ** 2)) < 0.4


@pytest.mark.parametrize("name", PEERS)
def test_gives_the_same_twice_and_leaves_its_input_alone(shifted, name):
    stack = shifted.stack[:3].copy()
    start = PeerStart(frame0=0, yx=shifted.yx[0], radius=RADII, oracle_yx=shifted.yx[:3])
    one, two = (make_peer(name)(stack, shifted.energies[:3], start) for _ in range(2))
    np.testing.assert_array_equal(one.yx, two.yx)
    np.testing.assert_array_equal(stack, shifted.stack[:3])


@pytest.mark.parametrize("name", PEERS)
def test_a_blank_frame_costs_only_itself_and_an_absent_particle_only_its_row(shifted, name):
    stack, here = shifted.stack[:4].copy(), shifted.yx[0].copy()
    stack[1] = np.nan
    here[2] = np.nan
    start = PeerStart(frame0=0, yx=here, radius=RADII, oracle_yx=shifted.yx[:4])
    result = make_peer(name)(stack, shifted.energies[:4], start)
    error = np.linalg.norm(result.yx - shifted.yx[:4], axis=2)
    assert np.isnan(error[1]).all()
    assert np.isnan(error[:, 2]).all()
    others = error[np.ix_([2, 3], [0, 1, 3, 4])] - error[0, [0, 1, 3, 4]]
    assert np.abs(others).max() < 0.5


def test_a_tracker_keeps_identities_apart(shifted):
    ids = make_peer("trackpy")(shifted.stack, shifted.energies, shifted.start()).ids
    assert ids is not None
    assert (ids == ids[0]).all()
    assert len(set(ids[0])) == len(RADII)
    assert ids.min() >= 0


def test_a_tracker_loses_what_vanishes(shifted):
    stack = shifted.stack.copy()
    y, x = np.indices(SHAPE)
    for k in range(1, len(stack)):
        near = np.hypot(y - shifted.yx[k, 1, 0], x - shifted.yx[k, 1, 1]) < 30
        stack[k][near] = np.nan
    result = make_peer("trackpy")(stack, shifted.energies, shifted.start())
    assert result.ids is not None
    assert np.isnan(result.yx[1:, 1]).all()
    assert (result.ids[1:, 1] == -1).all()
    assert (result.ids[:, 0] == result.ids[0, 0]).all()


@pytest.mark.parametrize("name", ["trackpy", "sift_affine"])
def test_nothing_to_see_is_lost_not_an_error(name):
    flat = np.zeros((3, *SHAPE), np.float32)
    start = PeerStart(frame0=0, yx=np.array([[100.0, 100.0]]), radius=np.array([15.0]))
    result = make_peer(name)(flat, np.arange(3.0), start)
    assert np.isnan(result.yx[1:]).all()


@pytest.mark.parametrize("name", ["roi_first", "roi_previous"])
def test_what_needs_the_truth_says_so(shifted, name):
    start = PeerStart(frame0=0, yx=shifted.yx[0], radius=RADII)
    with pytest.raises(ConfigError, match="oracle_yx"):
        make_peer(name)(shifted.stack, shifted.energies, start)


def test_an_unknown_peer_is_told_with_the_choice():
    with pytest.raises(ConfigError, match="sift_affine"):
        make_peer("sift")
    with pytest.raises(ConfigError, match="leads nowhere"):
        make_peer("operando.streamer.lab.bench.peers.frames:nothing")


@pytest.mark.parametrize(
    ("name", "library"),
    [("sift_affine", "cv2"), ("stackreg_first", "pystackreg"), ("trackpy", "trackpy")],
)
def test_a_missing_library_is_told_with_the_remedy(monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=r"pip install 'operando\[bench\]'"):
        make_peer(name)
    assert make_peer("absolute_template")  # what needs no library of its own is not concerned
