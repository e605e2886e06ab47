"""The convolutional classifier of introductory texts: two pairs of convolutions, one dense layer.

Source: the network of many a digit tutorial: twice 32 channels of 5 x 5, pooled, dropout, twice 64
channels of 3 x 3, pooled, dropout, a dense layer of 256, dropout. Deviations: trained as `cnn` is,
with AdamW on a one-cycle schedule. It takes some forty times the work of `cnn` per image.
"""

from __future__ import annotations

from torch import nn

from pipeline.classifiers.cnn import CNN, CNNConfig, Network
from pipeline.data.images import ImageSpec


class PairsNet(Network):
    """The dropout of `config` is that of the dense layer; pooled maps have half of it."""

    @staticmethod
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        """See `Network.convolve`."""
        width = config.channels
        return [
            *_pair(spec.channels, width, 5),
            nn.Dropout(config.dropout / 2),
            *_pair(width, 2 * width, 3),
            nn.Dropout(config.dropout / 2),
        ]


def _pair(width_in: int, width_out: int, kernel: int) -> list[nn.Module]:
    first, second = (
        nn.Conv2d(width, width_out, kernel, padding=kernel // 2) for width in (width_in, width_out)
    )
    return [first, nn.ReLU(), second, nn.ReLU(), nn.MaxPool2d(2)]


class CNNTextbook(CNN):
    """See the module."""

    Network = PairsNet
