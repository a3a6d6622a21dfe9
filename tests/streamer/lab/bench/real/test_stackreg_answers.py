"""Our StackReg peer against what ImageJ's StackReg answered on a measured movie."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy.ndimage import map_coordinates

from operando.streamer.lab.bench.peers import PeerStart, make_peer

pytestmark = pytest.mark.data
INSIDE = np.s_[20:-20, 20:-20]


@pytest.fixture(scope="module")
def movie(shared_data) -> tuple[np.ndarray, np.ndarray]:
    """Raw frames, and the same registered rigidly to the frame before."""
    pytest.importorskip("pystackreg")
    folder = shared_data / "reg-pc12-stackreg"
    names = ("pc12-unreg.tif", "pc12-reg-rigid-body.tif")
    raw, answer = (tifffile.imread(folder / name).astype(np.float32) for name in names)
    return raw, answer


def test_frames_sampled_where_the_peer_says_are_the_registered_ones(movie):
    raw, answer = movie
    shape = raw.shape[1:]
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    start = PeerStart(
        frame0=0, yx=grid.reshape(-1, 2).astype(float), radius=np.ones(grid[..., 0].size)
    )
    places = make_peer("stackreg_previous")(raw, np.arange(float(len(raw))), start).yx
    for frame in range(1, len(raw)):
        found = map_coordinates(raw[frame], places[frame].T, order=3, mode="nearest")
        left = (found.reshape(shape) - answer[frame])[INSIDE]
        before = (raw[frame] - answer[frame])[INSIDE]
        assert left.std() < 0.01 * before.std(), frame
