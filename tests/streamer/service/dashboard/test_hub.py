"""Fan-out to viewers."""

from __future__ import annotations

import asyncio

from operando.streamer.service.dashboard.web import Hub


def test_a_viewer_that_does_not_read_is_sent_away_and_the_others_get_everything():
    async def scene() -> tuple[int, list[int], bool]:
        hub = Hub()
        hub.open(asyncio.get_running_loop())
        quick, stuck = hub.join(), hub.join()
        got = []
        for _ in range(9):
            hub.send([quick.number, stuck.number], bytes(10 << 20))
            payload = await quick.take()
            got.append(len(payload or b""))
        waiting = [stuck.waiting.get_nowait() for _ in range(stuck.waiting.qsize())]
        return hub.count, got, waiting[-1] is None

    count, got, ended = asyncio.run(scene())
    assert got == [10 << 20] * 9
    assert count == 1
    assert ended


def test_previews_are_left_out_for_one_who_lags_behind_and_rows_are_not():
    async def scene() -> tuple[list, int]:
        hub = Hub()
        hub.open(asyncio.get_running_loop())
        viewer = hub.join()
        for n in range(20):
            hub.send([viewer.number], b"p%d" % n, droppable=True)
            hub.send([viewer.number], b"r%d" % n)
        await asyncio.sleep(0)
        return [viewer.waiting.get_nowait() for _ in range(viewer.waiting.qsize())], hub.count

    got, count = asyncio.run(scene())
    assert [p for p in got if p[:1] == b"r"] == [b"r%d" % n for n in range(20)]
    assert 1 <= sum(p[:1] == b"p" for p in got) <= 4
    assert count == 1
