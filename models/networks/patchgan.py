"""The discriminators of the Cycle-GAN."""

from __future__ import annotations

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Tells for each patch whether it is real (PatchGAN).

    Isola et al. 2017 (doi 10.1109/CVPR.2017.632), as used by Zhu et al. 2017 (doi
    10.1109/ICCV.2017.244): strided 4 x 4 convolutions, instance normalisation, leaky rectifiers,
    no sigmoid (least-squares adversarial loss).

    Parameters
    ----------
    width : channels after the first layer. layers : stride-2 layers; two see patches of 34 x 34.
    """

    def __init__(self, width: int = 16, layers: int = 2) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        channels = width
        for layer in range(1, layers + 1):
            wider = min(2 * channels, 8 * width)
            parts += [
                nn.Conv2d(channels, wider, 4, 2 if layer < layers else 1, 1, bias=False),
                nn.InstanceNorm2d(wider),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            channels = wider
        self.layers = nn.Sequential(*parts, nn.Conv2d(channels, 1, 4, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Rate patches.

        Parameters
        ----------
        image : (B, 1, H, W), -1..1.

        Returns
        -------
        (B, 1, h, w), 1 for real and 0 for translated patches.
        """
        return self.layers(image)
