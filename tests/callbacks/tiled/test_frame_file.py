"""The growing HDF5 file of images."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from operando.callbacks.tiled.frame_file import DATASET, FrameFile
from operando.streamer.errors import SinkError

SHAPE = (6, 7)
F4 = np.dtype("<f4")


def image(i: int) -> np.ndarray:
    return np.full(SHAPE, i, F4)


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    file = FrameFile(tmp_path / "a.h5", SHAPE, F4)
    assert file.write({0: image(0), 1: image(1)}) == [0, 1]
    with h5py.File(file.path, "r", libver="latest", swmr=True) as reader:
        data = reader[DATASET]
        assert data.shape == (2, *SHAPE)
        assert data.chunks == (1, *SHAPE)
        file.write({3: image(3)})
        data.refresh()
        assert data.shape[0] == 4
        assert np.isnan(data[2]).all()
        np.testing.assert_array_equal(data[3], image(3))
    assert file.extend(6) == [4, 5]
    file.close()


def test_images_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    first = FrameFile(path, SHAPE, F4)
    first.write({i: image(i) for i in range(3)})
    first.close()
    before = path.read_bytes()
    second = FrameFile(path, SHAPE, F4)
    assert second.write({i: image(i) for i in range(3)}) == []
    assert path.read_bytes() == before
    assert second.write({1: image(9), 2: image(2), 3: image(3)}) == [1, 3]
    second.close()
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file[DATASET][:, 0, 0], [0, 9, 2, 3])


KILLED = """
import os, sys, numpy as np
from pathlib import Path
from operando.callbacks.tiled.frame_file import FrameFile
file = FrameFile(Path(sys.argv[1]), (6, 7), np.dtype("<f4"))
file.write({i: np.full((6, 7), i, "<f4") for i in range(3)})
os.kill(os.getpid(), 9)
"""


@pytest.mark.system
def test_the_file_of_a_killed_writer_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    file = FrameFile(path, SHAPE, F4)
    assert file.write({2: image(2), 3: image(3)}) == [3]
    file.close()
    with h5py.File(path) as read:
        np.testing.assert_array_equal(read[DATASET][:, 0, 0], [0, 1, 2, 3])


def test_a_file_of_other_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    first = FrameFile(path, SHAPE, F4)
    first.write({0: image(0)})
    first.close()
    with pytest.raises(SinkError, match="holds images of"):
        FrameFile(path, (3, 3), F4).write({0: np.zeros((3, 3), F4)})


SPOILER = """
import os, resource, sys
from pathlib import Path
import numpy as np
from operando.callbacks.tiled.frame_file import FrameFile
from operando.streamer.errors import SinkError
images = {i: np.full((50, 50), i, np.float32) for i in range(40)}
file = FrameFile(Path(sys.argv[1]), (50, 50), np.dtype(np.float32))
file.write({i: images[i] for i in range(20)})
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]) + 30_000, hard))
for text in ("cannot be written", "start the service again"):
    try:
        file.write({i: images[i] for i in range(20, 40)})
    except SinkError as error:
        assert text in str(error), error
    else:
        raise AssertionError("the disk took it")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
file.close()
print("done", flush=True)
os._exit(0)
"""


def test_a_write_that_fails_half_way_is_the_last_of_its_process_and_spoils_nothing_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "frames.h5"
    done = subprocess.run(
        [sys.executable, "-c", SPOILER, str(path)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    images = {i: np.full((50, 50), i, np.float32) for i in range(40)}
    file = FrameFile(path, (50, 50), np.dtype(np.float32))
    file.write({i: images[i] for i in range(15, 40)})
    file.close()
    with h5py.File(path, "r") as found:
        np.testing.assert_array_equal(found[DATASET][:], np.stack(list(images.values())))


OPEN_AND_DIE = """
import os, signal, sys
from pathlib import Path
from operando.callbacks.tiled.frame_file import open_to_write
open_to_write(Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_whose_writer_was_killed_as_soon_as_it_had_opened_it(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    first = FrameFile(path, SHAPE, F4)
    first.write({0: image(0)})
    first.close()
    ended = subprocess.run([sys.executable, "-c", OPEN_AND_DIE, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    with h5py.File(path, "r", libver="latest", swmr=True) as file:  # as a server reads it
        assert file[DATASET].shape == (1, *SHAPE)
    again = FrameFile(path, SHAPE, F4)
    assert again.write({0: image(0), 1: image(1)}) == [1]
    again.close()
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file[DATASET], [image(0), image(1)])
