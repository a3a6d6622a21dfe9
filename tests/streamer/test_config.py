from __future__ import annotations

import pytest

from operando.streamer.config import load_settings, profile_path
from operando.streamer.errors import ConfigError


def test_the_order_is_file_then_environment_then_overrides(tmp_path, monkeypatch):
    (tmp_path / "operando.yml").write_text(
        "link: {gate_px: 7.0, max_jump_px: 50.0}\nregistration: {velocity_frames: 4}\n"
    )
    monkeypatch.setenv("OPERANDO_LINK__MAX_JUMP_PX", "40")
    settings = load_settings(tmp_path, {"registration": {"velocity_frames": 9}})
    assert settings.link.gate_px == 7
    assert settings.link.max_jump_px == 40
    assert settings.registration.velocity_frames == 9
    assert settings.profile == tmp_path.name


@pytest.mark.parametrize("name", ["sim_txm", "nsls2_fxi", "ssrl_6_2c"])
def test_shipped_profiles_load_by_name(name):
    settings = load_settings(name)
    assert settings.profile == name
    assert (profile_path(name) / "operando.yml").is_file()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("link: {gate: 3}", "link.gate: Extra inputs are not permitted (got 3)"),
        ("link: {gate_px: -3}", "link.gate_px"),
        ("- a\n- b\n", "must be a mapping"),
        ("link: [", "cannot read"),
    ],
)
def test_bad_settings_are_named(tmp_path, content, told):
    (tmp_path / "operando.yml").write_text(content)
    with pytest.raises(ConfigError) as error:
        load_settings(tmp_path)
    assert told in str(error.value)


def test_an_unknown_profile_says_which_there_are():
    with pytest.raises(ConfigError, match="sim_txm"):
        load_settings("no_such_beamline")


def test_the_hash_covers_what_decides_the_result_and_nothing_else():
    base = load_settings()
    same = load_settings(None, {"process": {"max_batch": 3}, "profile": "x"})
    other = load_settings(None, {"link": {"gate_px": 6.5}})
    assert base.sha256 == same.sha256
    assert base.sha256 != other.sha256
