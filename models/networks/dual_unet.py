"""The Dual U-net: a clean particle first, then its contour."""

from __future__ import annotations

from torch import Tensor, nn

from .unet import UNet


class DualUNet(nn.Module):
    """Two U-nets of the same structure in cascade (Su et al. 2024, section 2.2.1).

    The first takes noise and background away from the ROI of one particle; the second draws the
    single contour of the particle in the middle of it. How the two are joined is not published;
    a cascade with a loss on each output is the choice made here: what the second sees is the
    output of the first alone.

    Parameters
    ----------
    width : channels of both at full resolution.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.clean = UNet(width)
        self.contour = UNet(width)

    def forward(self, roi: Tensor) -> tuple[Tensor, Tensor]:
        """Clean and contour ROIs.

        Parameters
        ----------
        roi : (B, 1, S, S) standardised ROIs, see `operando.models.networks.inputs.roi_input`;
            S is a multiple of 16.

        Returns
        -------
        clean : (B, 1, S, S) the particle alone, 0 outside, about 1 where it is thickest.
        logits : (B, 1, S, S) of the mask; above 0 is inside.
        """
        clean = self.clean(roi)
        return clean, self.contour(clean)
