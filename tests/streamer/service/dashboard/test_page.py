"""The page in a real browser."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.lab.rig import start_dashboard
from operando.streamer.service.tiled_server import free_port

pytestmark = pytest.mark.system


def shows(page, run, frames):
    """Wait until a run is shown with so many frames, and a picture of it."""
    page.wait_for_function(
        "([key, n]) => window.operando?.store.run?.key === key && operando.store.frames.size === n"
        " && operando.seen.shown.at(-1)?.run === key",
        arg=[run.uid, frames],
    )


def says(page, selector, text):
    """Wait until an element holds a text."""
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent.includes(text)",
        arg=[selector, text],
    )


BRIGHT = """(id) => {
  const canvas = document.getElementById(id);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let n = 0;
  for (let i = 0; i < data.length; i += 4) n += data[i + 3] > 0 && data[i + 1] > 40;
  return n;
}"""


def bright(page, canvas):
    """Number of pixels of a canvas that are clearly not background."""
    return page.evaluate(BRIGHT, canvas)


def test_a_run_appears_and_grows_on_an_open_page(dashboard, new_run, sink, page):
    page.goto(dashboard)
    says(page, "#tiled", "Tiled")
    run = new_run("cell 7")
    for i in range(4):
        run.frame(i)
    assert sink.flush()
    shows(page, run, 4)
    assert page.text_content("#state") == "live"
    assert "cell 7" in page.text_content("#figures")
    for i in range(4, 9):
        run.frame(i)
    assert sink.flush()
    shows(page, run, 9)
    page.wait_for_function("() => document.querySelectorAll('#particles tbody tr').length === 3")
    says(page, "#frame", "frame 8")
    assert "8308.00 eV" in page.text_content("#frame")
    for canvas in ("aligned", "camera", "drift", "strain", "tracks", "spectra", "latency"):
        assert bright(page, canvas) > 200, canvas
    # the particle that is singled out stays clear
    page.click("#particles tbody tr:nth-child(2)")
    page.wait_for_function("() => document.querySelector('#particles tr.picked')")
    run.stop(received=9, aligned=8, dropped={"overload": 1})
    assert sink.flush()
    says(page, "#state", "success")
    says(page, "#ledger", "dropped: overload1")
    says(page, "#ledger", "balanced")


def test_a_late_viewer_sees_all_and_goes_back_in_time(dashboard, new_run, sink, page):
    run = new_run()
    for i in range(6):
        image = np.zeros((60, 80), np.float32)
        image[:, : 10 + 10 * i] = 1.0  # tells which frame it is
        run.frame(i, aligned=image, unaligned=1 - image)
    run.stop(received=6, aligned=6)
    assert sink.flush()
    page.goto(dashboard)
    shows(page, run, 6)
    assert page.text_content("#live") == "live"
    whole, little = bright(page, "aligned"), bright(page, "camera")
    assert little < 0.7 * whole
    page.evaluate(
        "() => { const s = document.getElementById('slider'); s.value = 1;"
        " s.dispatchEvent(new Event('input')); }"
    )
    page.wait_for_function("() => operando.seen.shown.at(-1).frame === 1")
    assert "frame 1 " in page.text_content("#frame")
    assert "8301.00 eV" in page.text_content("#frame")
    assert bright(page, "aligned") < 0.6 * whole
    page.wait_for_function(f"() => ({BRIGHT})('camera') > {0.6 * whole}")
    assert page.get_attribute("#live", "aria-pressed") == "false"
    page.click("#live")
    page.wait_for_function("() => operando.seen.shown.at(-1).frame === 5")


def test_outlines_lie_on_the_particles(dashboard, new_run, sink, page):
    run = new_run()
    for i in range(3):
        run.frame(i, particles=2, drift_y=4.0, drift_x=-2.0)
    assert sink.flush()
    page.goto(dashboard)
    shows(page, run, 3)
    page.wait_for_function("() => operando.store.particlesOf(2).length === 2")
    (found, _) = page.evaluate("operando.store.particlesOf(2)")
    assert (found["y"], found["x"]) == (pytest.approx(10.2), 20.0)
    # the aligned frame has the drift taken out
    assert (found["alignedY"], found["alignedX"]) == (pytest.approx(6.2), 22.0)
    assert found["radius"] == pytest.approx(np.sqrt(80 / np.pi))


def test_the_last_outline_that_is_known_is_carried_along(dashboard, new_run, sink, page):
    run = new_run()
    square = np.where(np.arange(8) % 2, 8 * np.sqrt(2), 8).astype(np.float32)
    run.frame(0, particles=0)
    for frame, outline in ((0, square), (1, np.full(8, np.nan, np.float32))):
        place = {"y": 30.0, "x": 30.0 + 20 * frame, "state": "tracked", "area": 256.0}
        run.event("particles", frame=frame, particle=5, outline=outline, **place)
    run.frame(1, particles=0, n_particles=1)
    assert sink.flush()
    page.goto(dashboard)
    shows(page, run, 2)
    page.wait_for_function("() => operando.store.particlesOf(1)[0]?.outline !== undefined")
    (found,) = page.evaluate(
        "operando.store.particlesOf(1).map((p) => ({ ...p, outline: [...p.outline] }))"
    )
    assert found["x"] == 50.0
    assert found["outline"] == pytest.approx(square.tolist())


def test_particles_that_are_still_on_their_way_stay_where_they_were(dashboard, new_run, sink, page):
    run = new_run()
    run.frame(0)
    run.frame(1, particles=1, n_particles=3, drift_y=0.5)  # two of three have not come yet
    assert sink.flush()
    page.goto(dashboard)
    shows(page, run, 2)
    page.wait_for_function("() => operando.store.particlesOf(1).length === 3")
    found = page.evaluate("operando.store.particlesOf(1)")
    assert [p["y"] for p in found] == [pytest.approx(10.5 + 15 * i) for i in range(3)]
    says(page, "#particles-note", "of frame 0")


def test_spectra_maps_and_alerts_fill_in(dashboard, new_run, sink, page):
    run = new_run()
    run.frame(0)
    assert sink.flush()
    page.goto(dashboard)
    shows(page, run, 1)
    says(page, "#spectra-note", "no spectra stream")
    says(page, "#maps-empty", "no maps in this run yet")
    says(page, "#alerts", "no alerts in this run")
    for energy in (8340.0, 8350.0, 8360.0):
        for particle in (0, 1):
            run.event("spectra", particle=particle, energy=energy, od=0.5 + particle)
    run.event("spectra", particle=0, energy=8350.0, od=0.9, revision=1)
    for particle in (0, 1):
        run.event("maps", particle=particle, n_energies=3)
    run.event("advice", kind="lost", severity="warning", message="particle 1 was lost", particle=1)
    run.event("advice", kind="beam", severity="alarm", message="the beam is gone", particle=-1)
    run.event("advice", kind="recentre", severity="info", message="move", move_y=3.0, particle=-1)
    assert sink.flush()
    page.wait_for_function("() => document.querySelectorAll('#maps canvas').length === 2")
    page.wait_for_function("() => document.getElementById('spectra-note').textContent === ''")
    page.wait_for_function(
        "(points) => JSON.stringify(document.getElementById('spectra').plotted.series[0].points)"
        " === points",
        arg="[[8340,0.5],[8350,0.9],[8360,0.5]]",
    )
    assert page.input_value("#map-key") == "fraction"
    assert "3 energies" in page.text_content("#maps")
    page.wait_for_function("() => document.querySelectorAll('#alerts li').length === 3")
    assert page.text_content("#alerts li.alarm") == "alarm: the beam is gone"
    assert "particle 1" in page.text_content("#alerts li.warning")
    assert "move (3.0, 0.0) px" in page.text_content("#alerts li.info")
    page.select_option("#map-key", "edge_energy")
    page.wait_for_function(
        "() => document.getElementById('maps').textContent.includes('eV')"
        " && document.querySelectorAll('#maps canvas').length === 2"
    )


def test_names_of_samples_and_messages_are_text_whatever_stands_in_them(
    dashboard, new_run, sink, page
):
    evil = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
    run = new_run(evil)
    run.frame(0, status=evil, reason=evil)
    run.event("advice", kind=evil, severity=evil, message=evil)
    run.stop(received=1, aligned=0, dropped={evil: 1})
    assert sink.flush()
    page.goto(dashboard)
    shows(page, run, 1)
    says(page, "#alerts", "<img")
    for place in ("#figures", "#runs", "#frame", "#ledger"):
        assert evil in page.text_content(place), place
    assert page.evaluate("window.pwned") is None
    assert page.query_selector("img") is None
    assert page.evaluate("document.querySelectorAll('script').length") == 1


def test_an_operator_is_told_what_is_wrong_and_what_to_do(tmp_path, page):
    child, address = start_dashboard(tmp_path, f"http://127.0.0.1:{free_port()}")
    with child:
        page.goto(address)
        page.wait_for_selector("#trouble:visible")
        page.wait_for_function(
            "() => document.getElementById('what').textContent.includes('Tiled')"
        )
        assert "no Tiled server answers" in page.text_content("#what")
        assert "Is it running" in page.text_content("#remedy")
        assert "No run yet" in page.text_content("#aligned + .empty")
        says(page, "#drift + .empty", "waiting for the first frame")
        says(page, "#alerts", "no run yet")
    page.wait_for_function(
        "() => document.getElementById('what').textContent.includes('dashboard does not answer')"
    )
    assert "still running" in page.text_content("#remedy")
