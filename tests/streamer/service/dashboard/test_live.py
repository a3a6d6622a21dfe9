"""What viewers are told while results grow in a real Tiled server."""

from __future__ import annotations

import time
from contextlib import closing

import numpy as np
import pytest

from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.lab.rig import start_dashboard
from operando.streamer.service.tiled_server import EmbeddedTiled, free_port

pytestmark = pytest.mark.system


def test_viewers_early_and_late_get_the_same_rows_as_they_come(dashboard, new_run, sink, Viewer):
    with Viewer(dashboard) as early:
        early.until(lambda: early.last("run") and early.last("status")["ok"])
        run = new_run()
        for i in range(5):
            run.frame(i)
        assert sink.flush()
        early.until(lambda: early.count("frames") == 5 and early.shows(run))
        with Viewer(dashboard) as late:
            late.until(lambda: late.count("frames") == 5 and late.shows(run))
            for i in range(5, 12):
                run.frame(i, status="degraded", reason="low contrast")
                time.sleep(0.05)
            assert sink.flush()
            for viewer in (early, late):
                viewer.until(lambda v=viewer: v.count("frames") == 12)
                viewer.until(lambda v=viewer: v.count("particles") == 36)
                assert viewer.column("frames", "frame") == list(range(12))
                assert viewer.words("frames", "status") == ["aligned"] * 5 + ["degraded"] * 7
                assert viewer.words("frames", "reason")[-1] == "low contrast"
        early.until(lambda: set(early.previews) == {"aligned", "unaligned"})
        early.until(lambda: any(m["how"] == "pushed" for m in early.told if m["type"] == "status"))
        run.stop(received=12, aligned=12)
        assert sink.flush()
        early.until(lambda: early.last("stop"))
        assert early.last("stop")["run"]["stop"]["ledger"]["received"] == 12
        assert early.count("frames") == 12


def test_outlines_of_particles_follow_for_viewers_early_and_late(dashboard, new_run, sink, Viewer):
    run = new_run()
    run.event("particles", outline=np.full(8, np.nan, np.float32))
    run.event("particles", outline=np.arange(8, dtype=np.float32))
    run.frame(0, particles=0)
    assert sink.flush()
    with Viewer(dashboard) as early:
        early.until(lambda: early.shows(run) and len(early.outlines) == 2)
        run.event("particles", outline=np.full(8, 7, np.float32))
        assert sink.flush()
        early.until(lambda: len(early.outlines) == 3)
        with Viewer(dashboard) as late:
            late.until(lambda: len(late.outlines) == 3)
            for viewer in (early, late):
                assert np.isnan(viewer.outlines[0]).all()
                assert viewer.outlines[1].tolist() == list(range(8))
                assert viewer.outlines[2].tolist() == [7] * 8


def test_outlines_come_while_rows_are_pushed_all_the_time(dashboard, new_run, sink, Viewer):
    run = new_run()
    run.frame(0)
    assert sink.flush()
    with Viewer(dashboard) as viewer:
        viewer.until(lambda: viewer.shows(run) and viewer.count("frames") == 1)
        known = len(viewer.outlines)
        for i in range(1, 60):
            run.frame(i)
            assert sink.flush()
            viewer.until(lambda n=i: viewer.count("particles") == 3 * (n + 1))
            if len(viewer.outlines) > known + 3:
                break
            time.sleep(0.2)
        assert len(viewer.outlines) > known + 3


def test_updates_come_soon(dashboard, new_run, sink, Viewer):
    run = new_run()
    run.frame(0)
    assert sink.flush()
    with Viewer(dashboard) as viewer:
        viewer.until(lambda: viewer.count("frames") == 1 and viewer.shows(run))
        time.sleep(1.0)
        run.frame(1)
        assert sink.flush()
        began = time.monotonic()
        viewer.until(lambda: viewer.count("frames") == 2)
        assert time.monotonic() - began < 1.5  # of a machine that may be busy


def test_the_newest_run_is_followed_and_an_old_one_can_be_looked_at(
    dashboard, new_run, sink, Viewer
):
    old = new_run("old")
    for i in range(3):
        old.frame(i)
    old.stop()
    assert sink.flush()
    with Viewer(dashboard) as follower, Viewer(dashboard, old.uid) as historian:
        historian.until(lambda: historian.count("frames") == 3)
        follower.until(lambda: follower.count("frames") == 3 and follower.shows(old))
        new = new_run("new", time=5000.0)
        for i in range(4):
            new.frame(i)
        assert sink.flush()
        follower.until(lambda: follower.count("frames") == 4 and follower.shows(new))
        assert follower.last("run")["run"]["sample"] == "new"
        assert [r["sample"] for r in follower.last("runs")["runs"]][:2] == ["new", "old"]
        historian.until(lambda: historian.last("runs")["runs"][0]["key"] == new.uid)
        assert historian.last("run")["run"]["key"] == old.uid
        assert historian.count("frames") == 3
        historian.look(new.uid)
        historian.until(lambda: historian.count("frames") == 4)


def test_where_tiled_does_not_push_it_is_asked(tmp_path, repo_root, Viewer, ResultRun):
    config = tmp_path / "tiled.yml"
    text = (repo_root / "profiles" / "sim_txm" / "tiled.yml").read_text()
    before, _, after = text.partition("streaming_cache:")
    config.write_text(before + after[after.index("uvicorn:") :])
    with EmbeddedTiled(tmp_path / "tiled", config=config) as server:
        child, address = start_dashboard(tmp_path, server.base_uri, server.api_key)
        sink = TiledSink(server.uri)
        with child, Viewer(address) as viewer:
            run = ResultRun(sink)
            run.frame(0)
            assert sink.flush()
            viewer.until(lambda: viewer.count("frames") == 1)
            run.frame(1, reason="a new word")
            assert sink.flush()
            viewer.until(lambda: viewer.count("frames") == 2)
            assert viewer.words("frames", "reason") == ["", "a new word"]
            assert viewer.last("status")["how"] == "polled"
        sink.close()
        assert "Traceback" not in child.log.read_text()


def test_a_server_that_goes_away_is_told_and_found_again(tmp_path, Viewer, ResultRun):
    port, key = free_port(), "0123456789abcdef"
    child, address = start_dashboard(tmp_path, f"http://127.0.0.1:{port}", key)
    with child, Viewer(address) as viewer:
        viewer.until(lambda: viewer.last("status") and not viewer.last("status")["ok"])
        assert "no Tiled server answers" in viewer.last("status")["what"]
        assert "Is it running" in viewer.last("status")["remedy"]
        for frames in (2, 3):  # and once more after it was away
            with (
                EmbeddedTiled(tmp_path / "tiled", port=port, api_key=key) as server,
                closing(TiledSink(server.uri)) as sink,
            ):
                run = ResultRun(sink)
                for i in range(frames):
                    run.frame(i)
                assert sink.flush()
                viewer.until(lambda n=frames: viewer.count("frames") == n, 60)
                viewer.until(lambda: viewer.last("status")["ok"])
            viewer.until(lambda: not viewer.last("status")["ok"], 60)
    log = child.log.read_text()
    assert "Traceback" not in log
    assert key not in log


def test_a_wrong_key_is_told_with_its_remedy(tiled_server, tmp_path, Viewer):
    child, address = start_dashboard(tmp_path, tiled_server.base_uri, "wrongwrongwrong")
    with child, Viewer(address) as viewer:
        viewer.until(lambda: viewer.last("status") and not viewer.last("status")["ok"])
        assert "does not let us in" in viewer.last("status")["what"]
        assert "TILED_API_KEY" in viewer.last("status")["remedy"]
    assert "wrongwrongwrong" not in child.log.read_text()
