from __future__ import annotations

import torch

from operando.models.masks import fill_defects


def test_lone_pixels_are_filled_and_areas_are_not():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    od = (0.02 * y + 0.01 * x)[None, None].clone()
    valid = torch.ones(1, 1, 40, 50, dtype=torch.bool)
    truth = od.clone()
    valid[..., 20, 20] = False
    valid[..., 30:32, 10] = False
    valid[..., :, :4] = False
    valid[..., 5:12, 30:38] = False
    od[~valid] = torch.nan
    filled, usable = fill_defects(od, valid)
    assert usable[0, 0, 20, 20]
    assert usable[0, 0, 30:32, 10].all()
    torch.testing.assert_close(filled[0, 0, 20, 20], truth[0, 0, 20, 20], atol=1e-3, rtol=0)
    torch.testing.assert_close(filled[0, 0, 30:32, 10], truth[0, 0, 30:32, 10], atol=0.02, rtol=0)
    assert not usable[..., :4].any()
    assert not usable[0, 0, 6:11, 31:37].any()
    assert torch.isfinite(filled).all()
    good = valid[0, 0]
    assert torch.equal(filled[0, 0][good], truth[0, 0][good])
