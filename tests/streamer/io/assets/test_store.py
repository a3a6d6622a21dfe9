"""Waiting, giving up, keeping files open."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from operando.streamer.core.assemble.references import KINDS
from operando.streamer.errors import AssetError, AssetMissing, ConfigError
from operando.streamer.io.assets import ASSET_READERS, AssetReader, Gate
from operando.streamer.io.assets.reader import reader_class


def write(path, n=3):
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.ones((n, 8, 8), np.uint16)


class Constant:
    """A reader that somebody adds."""

    def __init__(self, uri, parameters, gate):
        self.value = parameters["value"]

    def read(self, start, stop):
        return np.full((stop - start, 4, 4), self.value)

    def close(self):
        """Close nothing."""


def test_every_kind_that_the_assembler_lets_through_has_a_reader():
    assert set(ASSET_READERS) == KINDS


@pytest.mark.parametrize("kind", sorted(ASSET_READERS))
def test_readers_open_nothing_before_they_read_and_close_twice(kind, new_store):
    gate = Gate(new_store()._settings)
    reader: AssetReader = reader_class(kind, {})("/nowhere/a.h5", {}, gate)
    reader.close()
    with pytest.raises(AssetError):
        reader.read(0, 1)
    reader.close()


def test_a_file_that_comes_in_time_is_waited_for(tmp_path, new_store, ref, clock):
    path = tmp_path / "a.h5"
    clock.then = lambda naps: write(path) if naps == 3 else None
    assert new_store(retry_for=1.0, retry_every=0.1).read(ref(path)).shape == (1, 8, 8)
    assert clock.naps == 3


def test_a_resource_is_waited_for_once_until_it_is_reopened(tmp_path, new_store, ref, clock):
    path = tmp_path / "a.h5"
    store = new_store(retry_for=1.0, retry_every=0.1)
    for _ in range(3):
        with pytest.raises(AssetMissing):
            store.read(ref(path))
    assert clock.now == pytest.approx(1.0, abs=0.11)
    with pytest.raises(AssetMissing):
        store.read(ref(path, resource="other"))
    assert clock.now == pytest.approx(2.0, abs=0.21)
    store.reopen("res")
    with pytest.raises(AssetMissing):
        store.read(ref(path))
    assert clock.now == pytest.approx(3.0, abs=0.31)
    write(path)
    assert store.read(ref(path)).shape == (1, 8, 8)  # there now, so no wait is needed


def test_files_stay_open_up_to_the_bound_and_close_with_their_run(tmp_path, new_store, ref):
    store = new_store(max_open_files=2)

    def opened():
        files = [f.resolve() for f in Path("/proc/self/fd").iterdir()]
        return sorted(f.name for f in files if f.is_relative_to(tmp_path))

    for i in range(4):
        write(tmp_path / f"{i}.h5")
        store.read(ref(tmp_path / f"{i}.h5", resource=str(i), run=f"run{i}"))
    assert opened() == ["2.h5", "3.h5"]
    store.close_run("run2")
    assert opened() == ["3.h5"]
    store.close()
    assert opened() == []
    assert store.read(ref(tmp_path / "0.h5")).shape == (1, 8, 8)


def test_readers_of_other_formats(new_store, ref):
    store = new_store(readers={"newton": f"{__name__}:Constant"})
    assert (store.read(ref("/x", 0, 2, "newton", value=7)) == np.full((2, 4, 4), 7)).all()
    with pytest.raises(ConfigError, match="leads nowhere"):
        new_store(readers={"newton": "operando.nothing:Here"}).read(ref("/x", kind="newton"))
    with pytest.raises(AssetError, match="no reader"):
        new_store().read(ref("/x", kind="newton"))


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (3, 1), (-1, 1)])
def test_empty_ranges_are_refused(tmp_path, new_store, ref, start, stop):
    write(tmp_path / "a.h5")
    with pytest.raises(AssetError, match="are none"):
        new_store().read(ref(tmp_path / "a.h5", start, stop))


def test_a_pipe_does_not_hang_the_service(tmp_path, new_store, ref):
    os.mkfifo(tmp_path / "a.h5")
    with pytest.raises(AssetMissing):
        new_store().read(ref(tmp_path / "a.h5"))
