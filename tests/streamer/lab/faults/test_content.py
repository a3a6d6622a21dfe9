"""What is in the images and readings that arrive."""

from __future__ import annotations

import numpy as np
import pytest


def images(sent):
    return {s.doc["seq_num"]: s.doc["data"]["cam"] for s in sent if s.name == "event"}


@pytest.fixture
def struck(send, six):
    """The image of event 3 as it was and as it arrives."""

    def apply(**fault):
        fault.setdefault("seq_num", [3, 3])
        before, after = six[4][1]["data"]["cam"], images(send(six, fault))
        assert all(after[n] is six[n + 1][1]["data"]["cam"] for n in (1, 2, 4, 5, 6))
        return before, after[3]

    return apply


def test_nan_pixels(struck):
    before, after = struck(kind="nan", fraction=0.25)
    bad = np.isnan(after)
    assert after.dtype == np.float32
    assert 0.15 < bad.mean() < 0.35
    np.testing.assert_array_equal(after[~bad], before[~bad])
    assert np.isnan(struck(kind="nan")[1]).all()


@pytest.mark.parametrize(("level", "told"), [(None, 65535), (4095.0, 4095)])
def test_saturated_pixels_are_the_brightest(struck, level, told):
    before, after = struck(kind="saturated", fraction=0.25, level=level)
    full = after == told
    assert full.mean() == pytest.approx(0.25, abs=0.01)
    assert before[full].min() >= before[~full].max()


def test_a_blank_image_has_its_offset_and_noise(struck):
    _, after = struck(kind="blank", level=50, noise=2)
    assert after.dtype == np.uint16
    assert after.mean() == pytest.approx(50, abs=1)
    assert after.std() == pytest.approx(2, rel=0.2)


def test_the_beam_fades_and_comes_back(send, six):
    fault = {"kind": "beam_loss", "seq_num": [2, 6], "ramp": 1, "left": 0.2, "dark_level": 100}
    sent = images(send(six, fault))
    whole = {n: six[n + 1][1]["data"]["cam"] for n in range(1, 7)}
    light = [(sent[n].mean() - 100) / (whole[n].mean() - 100) for n in range(1, 7)]
    np.testing.assert_allclose(light, [1, 0.6, 0.2, 0.2, 0.2, 0.6], atol=0.002)


def test_the_field_jumps_by_whole_pixels(struck):
    before, after = struck(kind="field_jump", dy=3, dx=-5)
    np.testing.assert_array_equal(after[0, 3:, :-5], before[0, :-3, 5:])
    np.testing.assert_array_equal(after[0, 0], after[0, 3])


def test_an_energy_is_told_wrong_in_its_own_unit(send, six):
    sent = send(six, {"kind": "energy_jump", "seq_num": [3, 3], "offset_ev": 25.0})
    energies = [s.doc["data"]["mono_energy"] for s in sent if s.name == "event"]
    np.testing.assert_allclose(energies, [8.001, 8.002, 8.028, 8.004, 8.005, 8.006])


def test_an_image_in_a_page(send, make):
    page = make["page"]([1, 2, 3])
    sent = send(make["run_of"]("primary", events=[("event_page", page)]), {"kind": "nan"})
    assert all(np.isnan(s.doc["data"]["cam"][0]).all() for s in sent if s.name == "event_page")
    assert send.state.injected == {"nan": 3}


def test_an_image_in_a_file_cannot_be_spoilt_and_that_is_told(send, six):
    for _, doc in six[2:-1]:
        doc["data"]["cam"] = "resource/1"
    sent = send(six, {"kind": "nan", "seq_num": [2, 3]})
    assert [s.doc for s in sent] == [doc for _, doc in six]
    assert send.state.impossible == {"nan": 2}
