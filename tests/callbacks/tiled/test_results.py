"""Results read from a real Tiled server while a run goes on and after."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import event_model
import numpy as np
import pandas as pd
import pytest
from tiled.client import from_uri
from tiled.client.container import Container

from operando.callbacks import LiveResults
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.core.streams import rows_of
from operando.streamer.io.tiled.settings import TiledSettings
from operando.streamer.service.tiled_server import EmbeddedTiled

pytestmark = pytest.mark.system

Documents = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def root(tiled_server: EmbeddedTiled) -> Iterator[Container]:
    """A container of this test alone: what the newest run is, is the test's affair."""
    client = from_uri(tiled_server.uri)
    yield client.create_container(str(uuid.uuid4()))
    client.context.close()


@pytest.fixture
def sink(root: Container, tiled_server: EmbeddedTiled) -> Iterator[TiledSink]:
    settings = TiledSettings(
        frames="hdf5", frames_dir=str(tiled_server.frames_dir), first_rows_s=0, tick_s=0.05
    )
    made = TiledSink(root, settings)
    yield made
    made.close()


def give(sink: TiledSink, documents: Documents) -> None:
    for name, doc in documents:
        sink(name, doc)
    assert sink.flush(20)


def renamed(documents: Documents) -> Documents:
    """The same documents as another run."""
    uids: dict[str, str] = {}

    def new(uid: str) -> str:
        return uids.setdefault(uid, str(uuid.uuid4()))

    found = []
    for name, doc in documents:
        links = {key: new(doc[key]) for key in ("uid", "run_start", "descriptor") if key in doc}
        found.append((name, {**doc, **links}))
    return found


def rows(documents: Documents, stream: str) -> pd.DataFrame:
    return pd.DataFrame(rows_of(documents).get(stream))


def half(documents: Documents) -> Documents:
    events = [i for i, (name, _) in enumerate(documents) if name == "event"]
    return documents[: events[len(events) // 2] + 1]


def test_two_lines_while_the_run_goes_on_and_after(
    root: Container, sink: TiledSink, result_documents: Documents
) -> None:
    documents = renamed(result_documents)
    begun = half(documents)
    give(sink, begun)

    live = LiveResults(root)
    now = live.positions()

    told = rows(begun, "particles")
    newest = told.sort_values(["frame", "revision"]).groupby("particle").last()
    assert live.stop is None
    assert 0 < newest["frame"].max() < 7
    np.testing.assert_array_equal(now[["y", "x"]], newest[["y", "x"]])
    assert now.index.name == "particle"
    assert now.attrs["units"]["velocity_y"] == "px/s"
    assert len(live.frames()) == rows(begun, "frames")["frame"].nunique()
    image = live.image()
    assert image.dims == ("y", "x")
    np.testing.assert_array_equal(image, rows(begun, "frames")["aligned"].iloc[-1])

    give(sink, documents[len(begun) :])  # the same object goes on, from rows to tables
    frames, told = rows(documents, "frames"), rows(documents, "particles")
    assert live.stop["ledger"]["received"] == 8
    assert live.frames().index.tolist() == list(range(8))
    final = frames.sort_values("revision").groupby("frame").last()
    np.testing.assert_array_equal(live.frames()["drift_y"], final["drift_y"])
    assert live.frames()["revision"].min() >= 1
    assert len(live.particles()) == len(told.groupby(["frame", "particle"]))
    assert live.positions()["frame"].tolist() == [7] * 3

    paths = live.trajectories()
    assert dict(paths.sizes) == {"particle": 3, "frame": 8}
    assert paths["y"].attrs["units"] == "px"
    first = told["particle"].iloc[0]
    want = told[told["particle"] == first].sort_values("revision").groupby("frame").last()["y"]
    np.testing.assert_array_equal(paths["y"].sel(particle=first), want)


def test_the_run_is_the_newest_or_the_one_asked_for(
    root: Container, sink: TiledSink, result_documents: Documents
) -> None:
    with pytest.raises(LookupError, match="no result run at http"):
        LiveResults(root)
    root.create_container("a raw run", metadata={"start": {"uid": "raw"}})
    first, second = renamed(result_documents), renamed(result_documents)
    raw = str(uuid.uuid4())
    first[0] = ("start", {**first[0][1], "original_run_uid": raw})
    give(sink, half(first))
    give(sink, second[:5])
    assert LiveResults(root).uid == second[0][1]["uid"]
    assert LiveResults(root, run=raw).uid == first[0][1]["uid"]
    assert LiveResults(root, run=first[0][1]["uid"]).uid == first[0][1]["uid"]
    assert LiveResults(root[first[0][1]["uid"]]).start["original_run_uid"] == raw
    with pytest.raises(LookupError, match="raw run nowhere"):
        LiveResults(root, run="nowhere")


def test_streams_that_have_not_begun_are_empty_and_say_so(
    root: Container, sink: TiledSink, result_documents: Documents
) -> None:
    documents = renamed(result_documents)
    give(sink, documents[:1])
    live = LiveResults(root)
    tables = (live.frames(), live.particles(), live.positions(), live.chemistry(), live.advice())
    for table in tables:
        assert table.empty
        assert "nothing has come" in table.attrs["note"]
    for dataset in (live.trajectories(), live.spectra(), live.maps()):
        assert not dataset.variables.keys() - dataset.dims
        assert not any(dataset.sizes.values())
        assert "nothing has come" in dataset.attrs["note"]
    with pytest.raises(LookupError, match="aligned yet"):
        live.image()


def chemistry(uid: str, side: int = 6) -> Documents:
    """A result run with the streams ``spectra`` and ``maps`` of the contract, up to its stop."""
    rng = np.random.default_rng(3)
    run = event_model.compose_run(uid=uid, time=1.0, metadata={"original_run_uid": "raw"})
    scalar = {"source": "operando", "shape": [], "dtype": "number", "dtype_numpy": "<f8"}
    integer = {**scalar, "dtype": "integer", "dtype_numpy": "<i8"}
    array = {**scalar, "dtype": "array", "shape": [side, side], "dtype_numpy": "<f4"}
    spectra = run.compose_descriptor(
        name="spectra",
        data_keys={
            "particle": integer,
            "energy": {**scalar, "units": "eV"},
            "od": {**scalar, "units": "OD"},
            "od_sigma": {**scalar, "units": "OD"},
            "enough": {**scalar, "dtype": "boolean", "dtype_numpy": "|b1"},
            "revision": integer,
        },
    )
    maps = run.compose_descriptor(
        name="maps",
        data_keys={
            "particle": integer,
            "n_energies": integer,
            "edge_energy": {**array, "units": "eV"},
            "fraction": {**array, "units": ""},
        },
    )
    documents: Documents = [("start", dict(run.start_doc))]
    documents += [("descriptor", dict(d.descriptor_doc)) for d in (spectra, maps)]

    def event(stream: Any, data: dict[str, Any]) -> None:
        made = stream.compose_event(data=data, timestamps=dict.fromkeys(data, 2.0), time=2.0)
        documents.append(("event", dict(made)))

    def image() -> np.ndarray:
        return rng.random((side, side), dtype=np.float32)

    for revision in (0, 1):
        for energy in (8330.0, 8340.0, 8350.0):
            for particle in (2, 5):
                if (particle, energy) == (5, 8350.0):
                    continue
                data = {"particle": particle, "energy": energy, "od": energy * particle + revision}
                data |= {"od_sigma": 0.1, "enough": energy > 8345, "revision": revision}
                event(spectra, data)
    for n_energies in (2, 3):
        for particle in (5, 2):
            data = {"particle": particle, "n_energies": n_energies, "edge_energy": image()}
            event(maps, {**data, "fraction": image()})
    event(maps, {"particle": 7, "n_energies": 3, "edge_energy": image(), "fraction": image()})
    return [*documents, ("stop", dict(run.compose_stop()))]


@pytest.mark.parametrize("ended", [False, True])
def test_spectra_and_maps(root: Container, sink: TiledSink, ended: bool) -> None:
    documents = chemistry(str(uuid.uuid4()))
    give(sink, documents if ended else documents[:-1])
    live = LiveResults(root)
    spectra = live.spectra()
    assert dict(spectra.sizes) == {"particle": 2, "energy": 3}
    assert spectra["od"].sel(particle=2, energy=8340.0) == 8340.0 * 2 + 1
    assert np.isnan(spectra["od"].sel(particle=5, energy=8350.0))
    assert spectra["od"].attrs["units"] == "OD"
    assert spectra["energy"].attrs["units"] == "eV"
    assert np.isnan(spectra["enough"].sel(particle=5, energy=8350.0))
    assert spectra["enough"].sel(particle=2, energy=8350.0) == 1
    newest = live.chemistry()
    assert newest.index.tolist() == [2, 5]
    assert newest["energy"].tolist() == [8350.0, 8340.0]
    assert newest["revision"].tolist() == [1, 1]
    assert newest["enough"].tolist() == [True, False]

    maps = live.maps()
    told = rows(documents, "maps").groupby("particle").last()
    assert maps["particle"].values.tolist() == [2, 5, 7]
    assert maps["n_energies"].values.tolist() == [3, 3, 3]
    assert maps["edge_energy"].attrs["units"] == "eV"
    for name in ("edge_energy", "fraction"):
        np.testing.assert_array_equal(maps[name], np.stack(list(told[name])))


def test_the_tail_of_a_stream(
    root: Container, sink: TiledSink, documents: Callable[..., Documents]
) -> None:
    given = documents(6)
    give(sink, given[:-1])
    live = LiveResults(root)
    assert live.tail("frames", 4)["frame"].tolist() == [4, 5]
    assert live.tail("frames", 6).empty
    assert live.tail("frames", 99).empty
    assert live.tail("advice", 0).empty
    give(sink, given[-1:])
    assert live.tail("frames", 4)["frame"].tolist() == [4, 5]


def test_importing_it_does_not_import_torch() -> None:
    code = (
        "import sys; from operando.callbacks import LiveResults; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
