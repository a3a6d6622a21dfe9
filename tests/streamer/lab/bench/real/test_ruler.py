"""Motion of particles by their edges."""

from __future__ import annotations

import numpy as np

from operando.streamer.lab.bench.ruler import follow_edges


def frame(centre: tuple[float, float], contrast: float) -> np.ndarray:
    """A soft disc of radius 20 on a slope, with noise."""
    y, x = np.mgrid[:140, :150]
    r = np.hypot(y - centre[0], x - centre[1])
    rng = np.random.default_rng(int(10 * contrast))
    disc = contrast / (1 + np.exp((r - 20) / 1.5))
    return (disc + 0.001 * x + rng.normal(0, 0.01, r.shape)).astype(np.float32)


def test_a_disc_is_followed_though_its_contrast_changes():
    true = np.array([[70.0, 75.0], [76.3, 69.4], [68.75, 77.2]])
    images = np.stack([frame(c, a) for c, a in zip(true, (0.3, 1.0, 0.3), strict=True)])
    start = np.array([[70.4, 74.5], [np.nan, np.nan]])
    expected = np.array([[0.0, 0.0], [5.0, -4.0], [0.0, 0.0]])
    found = follow_edges(images, start, np.array([20.0, 20.0]), expected)
    np.testing.assert_allclose(found[:, 0] - found[0, 0], true - true[0], atol=0.1)
    assert np.isnan(found[:, 1]).all()
