"""Reading a script: what is wrong with it is told in one message."""

from __future__ import annotations

from importlib.resources import files

import pytest

from operando.streamer.errors import ConfigError
from operando.streamer.lab.faults import load_script


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("faults: [{kind: drop, where: 3}]", "where"),
        ("faults: [{kind: dorp}]", "dorp"),
        ("faults: [{kind: drop, seq_num: [5, 2]}]", "seq_num is [first, last]"),
        ("faults: [{kind: drop, probability: 1.5}]", "1.5"),
        ("faults: [{kind: beam_loss}]", "beam_loss wants seq_num"),
        ("faults: [{kind: late_start, first_seq_num: 2, stream: null}]", "wants a stream"),
        ("faults: []", "at least 1"),
        ("- kind: drop", "must be a mapping"),
        ("faults: [", "cannot read"),
        ("{faults: [{kind: drop}], sede: 3}", "sede"),
    ],
)
def test_a_wrong_script_is_refused(tmp_path, text, told):
    path = tmp_path / "faults.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"faults\.yml") as refused:
        load_script(path)
    assert told in str(refused.value)


def test_a_missing_script(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the faults"):
        load_script(tmp_path / "none.yml")


def test_the_shipped_example_and_another_seed():
    path = files("operando.profiles") / "sim_txm" / "faults.yml"
    script = load_script(path)
    assert script.seed == 7
    assert load_script(path, seed=8) == script.model_copy(update={"seed": 8})
    assert len({fault.kind for fault in script.faults}) == 11
