"""Arrays that are not prompt take turns."""

from __future__ import annotations

from operando.callbacks.tiled.run import RoundRobin, prompt_parts
from operando.streamer.io.tiled.settings import TiledSettings

SETTINGS = TiledSettings(prompt=("frames/rows", "frames/aligned", "advice/rows"), others_s=2.0)


def test_prompt_arrays_of_a_stream():
    assert prompt_parts(SETTINGS.prompt, "frames") == ("rows", "aligned")
    assert prompt_parts(SETTINGS.prompt, "maps") == ()


def test_each_of_the_others_has_its_turn_and_then_all_is_sent():
    waiting = {"frames": {"unaligned": 3}, "maps": {"rows": 1, "fraction": 1}}
    turn = RoundRobin.begin(waiting, SETTINGS, 10.0, 77)
    assert turn.due == 12.0
    order = []
    while not turn.over:
        part, turn = turn.next()
        order.append(part)
        turn = turn.sent(left=False)
    assert order == [("frames", "unaligned"), ("maps", "rows"), ("maps", "fraction")]
    assert turn.whole
    assert turn.received == 77


def test_what_was_held_back_is_not_sent():
    prompt_left = RoundRobin.begin({"frames": {"rows": 2, "unaligned": 1}}, SETTINGS, 0.0, 5)
    assert prompt_left.parts == (("frames", "unaligned"),)
    assert not prompt_left.whole
    _, turn = RoundRobin.begin({"maps": {"rows": 2}}, SETTINGS, 0.0, 5).next()
    assert not turn.sent(left=True).whole


def test_nothing_waits():
    turn = RoundRobin.begin({"frames": {}}, SETTINGS, 0.0, 5)
    assert turn.over
    assert turn.whole
