"""Lone pixels without a value, such as hot ones: filled before particles are looked for."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

_REACH = 2
_ALONE = 0.7  # valid share of the window around a lone defect; 0.6 at a straight rim


def fill_defects(od: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give lone invalid pixels the mean of what is around them.

    A hot pixel within a particle is no rim: without this the particle would count as cut.

    Parameters
    ----------
    od, valid : (B, 1, H, W) float32 and bool.

    Returns
    -------
    The same, with lone defects filled and valid; larger invalid areas are left alone.
    """
    # few pixels qualify: valid ones lie beyond the window on all four sides
    beyond = _REACH + 1
    height, width = valid.shape[-2:]
    wide = pad(valid, (beyond,) * 4)
    near = ~valid
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        near &= wide[..., dy * beyond :, dx * beyond :][..., :height, :width]
    clean = torch.where(valid, od, od.new_zeros(()))
    frame, _, y, x = near.nonzero(as_tuple=True)
    steps = torch.arange(2 * _REACH + 1, device=od.device)
    rows, columns = y[:, None, None] + steps[:, None], x[:, None, None] + steps
    window = (frame[:, None, None], 0, rows, columns)
    share = pad(valid, (_REACH,) * 4)[window].to(od.dtype).mean(dim=(1, 2))
    total = pad(clean, (_REACH,) * 4)[window].mean(dim=(1, 2))
    alone = share > _ALONE
    place = (frame[alone], 0, y[alone], x[alone])
    usable = valid.clone()
    clean[place] = total[alone] / share[alone]
    usable[place] = True
    return clean, usable
