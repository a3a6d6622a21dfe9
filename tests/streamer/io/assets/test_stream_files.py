"""StreamResource documents and the SWMR file that they announce, to frames."""

from __future__ import annotations

import pytest
from event_model import compose_run

from operando.streamer.core import assemble
from operando.streamer.core.assemble import frames_from_chunk
from operando.streamer.core.frames import FrameRef
from operando.streamer.io.assets import PathPrefix

pytestmark = pytest.mark.system


def test_a_step_scan_over_energies_with_chunks_in_a_growing_file(tmp_path, new_store, writer):
    process = writer(tmp_path / "a.h5", "latest")
    process("swmr")
    run = compose_run()
    image = {"source": "cam", "dtype": "array", "shape": [2, 16, 20], "external": "STREAM:"}
    energy = {"source": "en", "dtype": "number", "shape": [], "units": "keV"}
    stream = run.compose_descriptor(name="primary", data_keys={"cam": image, "XEng": energy})
    resource, datum = run.compose_stream_resource(
        mimetype="application/x-hdf5",
        uri="file://localhost/ioc/data/a.h5",
        data_key="cam",
        parameters={"dataset": "/entry/data/data", "chunk_shape": [1, 16, 20], "swmr": True},
    )
    state = assemble.init()
    for name, doc in (
        ("start", run.start_doc),
        ("descriptor", stream.descriptor_doc),
        ("stream_resource", resource),
    ):
        state, _ = assemble.update(state, name, doc)
    store = new_store(path_map=(PathPrefix(ioc="/ioc/data", local=str(tmp_path)),))
    for i in range(3):
        process(f"write {2 * i}", f"write {2 * i + 1}", "flush")
        index, number = {"start": i, "stop": i + 1}, {"start": i + 1, "stop": i + 2}
        document = datum(index, seq_nums=number, descriptor=stream.descriptor_doc)
        state, out = assemble.update(state, "stream_datum", document)
        assert out == ()
        event = stream.compose_event(data={"XEng": 8.0 + i}, timestamps={"XEng": 0.0})
        state, (ref,) = assemble.update(state, "event", event)
        assert isinstance(ref, FrameRef)
        assert ref.asset is not None
        assert ref.energy == 8000.0 + 1000 * i
        (frame,) = frames_from_chunk(ref, store.read(ref.asset))
        assert frame.n_averaged == 2
        assert (frame.image == 2 * i + 1.5).all()
