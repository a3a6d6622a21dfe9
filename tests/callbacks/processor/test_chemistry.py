"""Spectra and maps of a simulated scan as result documents, and in a real Tiled server."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from event_model import DocumentNames, schema_validators
from helpers.results import collect
from tiled.client import from_uri

from operando.callbacks import StreamProcessor
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.config import load_settings
from operando.streamer.core import xanes
from operando.streamer.core.streams import rows_of
from operando.streamer.errors import ConfigError
from operando.streamer.io.tiled.settings import TiledSettings
from operando.streamer.lab.simulate import SimSettings, Simulator, simulate_documents
from operando.streamer.lab.simulate.spectra import OXIDISED, REDUCED, absorption

SCAN = SimSettings(
    shape=(220, 220),
    n_particles=3,
    radius_px=(20, 26),
    n_energies=40,
    jitter_px=1.0,
    wander_px=1.0,
    drift_px=3.0,
    charge=(0.4, 0.4),
)


@pytest.fixture(scope="module")
def simulator():
    return Simulator(SCAN)


@pytest.fixture(scope="module")
def raw(simulator):
    return list(simulate_documents(simulator=simulator, order="fxi"))


def process(raw, **settings):
    return collect(raw, load_settings("sim_txm", settings))


@pytest.fixture(scope="module")
def results(raw):
    return process(raw, xanes={"every": 12})


def events(results, stream):
    return rows_of(results).get(stream, [])


def followed(spectra):
    """Those of particles that were followed over the scan; specks are seen once or twice."""
    return spectra[spectra.groupby("particle")["frame"].transform("nunique") > 20]


def test_documents_are_valid_and_told_as_announced(results):
    keys = {}
    for name, doc in results:
        schema_validators[DocumentNames[name]].validate(doc)
        if name == "descriptor":
            keys[doc["uid"]] = doc["data_keys"]
        elif name == "event":
            assert doc["data"].keys() == keys[doc["descriptor"]].keys()
            for key, value in doc["data"].items():
                assert list(np.shape(value)) == keys[doc["descriptor"]][key]["shape"]
    stop = results[-1][1]
    assert stop["ledger"]["balanced"]
    assert "xanes_failed" not in stop["ledger"].get("notices", {})
    assert stop["num_events"]["spectra"] == len(events(results, "spectra"))


def test_chemistry_of_the_particles(results, simulator):
    spectra, places = (pd.DataFrame(events(results, s)) for s in ("spectra", "particles"))
    last = followed(spectra).drop_duplicates("particle", keep="last").set_index("particle")
    middle = int(np.argmin(np.abs(simulator.energies - 8343)))
    truth = simulator.truth
    assert len(last) == 3
    for particle, row in last.iterrows():
        at = places[(places["particle"] == particle) & (places["frame"] == middle)].iloc[-1]
        offset = truth.yx[middle] - at[["y", "x"]].to_numpy(float)
        true = int(np.argmin(np.linalg.norm(offset, axis=1)))
        assert row["fraction"] == pytest.approx(truth.fraction[middle, true], abs=0.02)
        assert row["n_energies"] == 40
        assert 8340.0 < row["edge_energy"] < 8342.0


def test_each_energy_has_its_row_and_the_last_rows_are_of_one_mask(results):
    spectra = pd.DataFrame(events(results, "spectra"))
    assert followed(spectra)["particle"].nunique() == 3
    for _, rows in followed(spectra).groupby("particle"):
        final = rows.drop_duplicates("frame", keep="last")
        assert sorted(final["frame"]) == list(range(40))
        assert (final["revision"] == rows.groupby("frame")["revision"].max().to_numpy()).all()
        assert final["n_pixels"].nunique() == 1
        assert final["fraction"].nunique() == 1
        assert rows.groupby(["frame", "revision"]).size().max() == 1
        below, above = (final.loc[final["energy"].between(*r), "od"].mean()
                        for r in ((8180, 8320), (8376, 8590)))  # fmt: skip
        assert above > 2 * below
    frames = events(results, "frames")
    assert max(f["revision"] for f in frames) >= 1  # provisional values were revised


def test_maps_are_told_live_and_at_the_end(results):
    maps = events(results, "maps")
    final = [item for item in maps if item["final"]]
    live = [item for item in maps if not item["final"]]
    assert len(final) == 3
    assert {item["particle"] for item in live} == {item["particle"] for item in final}
    for item in final:
        inside = np.isfinite(item["fraction"])
        assert inside.sum() == pytest.approx(item["n_pixels"], rel=0.02)
        assert np.median(item["fraction"][inside]) == pytest.approx(0.4, abs=0.15)
        assert 0 < np.median(item["fraction_sigma"][inside]) < 0.1


def test_spectra_come_before_the_frame_that_brought_them(results):
    names = {d["uid"]: d["name"] for n, d in results if n == "descriptor"}
    streams = [names[d["descriptor"]] for n, d in results if n == "event"]
    first = streams.index("frames")
    assert "spectra" in streams[:first]
    assert "particles" in streams[: streams.index("spectra")]


def test_live_and_batched_are_the_same(raw, results):
    together = collect([raw], load_settings("sim_txm", {"xanes": {"every": 12}}), groups=True)
    for stream in ("spectra", "maps"):
        for one, other in zip(events(results, stream), events(together, stream), strict=True):
            for key in one:
                np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def test_without_references_and_switched_off(raw):
    bare = process(raw, xanes={"references": None, "every": 12})
    spectra = pd.DataFrame(events(bare, "spectra"))
    assert spectra["fraction"].isna().all()
    last = followed(spectra).drop_duplicates("particle", keep="last")
    assert last["edge_energy"].notna().all()
    assert len([item for item in events(bare, "maps") if item["final"]]) == 3
    off = process(raw, xanes={"enabled": False})
    assert {d["name"] for n, d in off if n == "descriptor"} == {"frames", "particles"}


def test_a_fault_in_the_spectra_costs_no_frame(raw, monkeypatch, caplog):
    update = xanes.update

    def fail(state, result, basis, settings):
        if result.frame == 3:
            raise ArithmeticError("odd numbers")
        return update(state, result, basis, settings)

    monkeypatch.setattr(xanes, "update", fail)
    with caplog.at_level(logging.WARNING):
        results = process(raw)
    ledger = results[-1][1]["ledger"]
    assert ledger["aligned"] + ledger["degraded"] == 40
    assert ledger["notices"]["xanes_failed"] == 2  # its first value and its final one
    assert "frame 3 is not in the spectra" in caplog.text


def test_references_are_part_of_what_makes_a_result(tmp_path):
    energy = np.arange(8200.0, 8500.0, 1.0)
    for name, shape in (("a.txt", REDUCED), ("b.txt", OXIDISED)):
        np.savetxt(tmp_path / name, np.stack([energy, absorption(energy, shape)], axis=1))

    def sha256(reduced, folder=tmp_path):
        files = {"reduced": str(reduced), "oxidised": "b.txt"}
        settings = {"xanes": {"references": files, "folder": str(folder)}}
        processor = StreamProcessor(load_settings("sim_txm", settings))
        processor.close()
        return processor.config_sha256

    assert sha256("a.txt") != sha256("b.txt")
    (tmp_path / "elsewhere.txt").write_bytes((tmp_path / "a.txt").read_bytes())
    assert sha256("a.txt") == sha256(tmp_path / "elsewhere.txt")
    with pytest.raises(ConfigError, match=r"none\.txt"):
        sha256("none.txt")


@pytest.mark.system
@pytest.mark.parametrize("route", ["hdf5", "http"])
def test_spectra_and_maps_in_tiled(results, tiled_server, route):
    folder = str(tiled_server.frames_dir) if route == "hdf5" else None
    told = renamed(results, route)
    sink = TiledSink(tiled_server.uri, TiledSettings(frames=route, frames_dir=folder, tick_s=0.05))
    for name, doc in told:
        sink(name, doc)
    sink.close()
    client = from_uri(tiled_server.uri)
    try:
        run = client[told[0][1]["uid"]]
        assert set(run) == {"frames", "particles", "spectra", "maps"}
        table = run["spectra"].read()
        wanted = pd.DataFrame(events(told, "spectra"))
        assert list(table["frame"]) == list(wanted["frame"])
        np.testing.assert_array_equal(table["od"], wanted["od"])
        assert table["enough"].dtype == bool
        assert table.attrs["units"]["edge_energy"] == "eV"
        maps = events(told, "maps")
        assert list(run["maps"].read()["particle"]) == [item["particle"] for item in maps]
        for key in ("fraction", "fraction_sigma", "edge_energy", "white_line"):
            found = run["maps"][key].read()
            np.testing.assert_array_equal(found, np.stack([item[key] for item in maps]))
    finally:
        client.context.close()


def renamed(results, suffix):
    """The same documents as another run."""
    uid = results[0][1]["uid"]
    changed = dict.fromkeys(("uid", "run_start"), f"{uid[:-4]}{suffix}")
    return [
        (name, {k: changed.get(k, v) if v == uid else v for k, v in doc.items()})
        for name, doc in results
    ]
