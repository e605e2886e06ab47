"""The convolutional network of introductory texts: two pairs of convolutions, one dense layer.

Source: the network of many tutorials on MNIST: two convolutions of 32 channels (5 x 5), pooling,
dropout, two of 64 channels (3 x 3), pooling, dropout, a dense layer of 256, dropout. Deviation: it
is trained like `cnn`, with AdamW on a one-cycle schedule. It costs about forty times the operations
of `cnn` per image.
"""

from __future__ import annotations

from pydantic import Field
from torch import nn
from typing_extensions import override

from pipeline.classifiers.cnn import CNN, CNNConfig, Network
from pipeline.config.validation import Width
from pipeline.data.images import ImageSpec
from pipeline.nn.background import relative


class CNNTextbookConfig(CNNConfig):
    """`dropout` is that of the dense layer; the pooled maps have half of it."""

    batch_size: int = Field(default=64, gt=1, le=1_000_000)
    learning_rate: float = Field(default=0.001, gt=0)  # the peak of the one-cycle schedule
    weight_decay: float = Field(default=0.01, ge=0)  # as for `cnn`; the texts use none
    channels: Width = 32  # of the first pair; the second pair has twice as many
    features: Width = 256
    dropout: float = Field(default=0.5, ge=0, lt=1)


class PairsNet(Network):
    """Two pairs of convolutions, each followed by max pooling and dropout."""

    @staticmethod
    @override
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        width = config.channels
        return [
            *relative(spec.background),
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
    """`CNN` with the layers of `PairsNet`."""

    Config = CNNTextbookConfig
    Network = PairsNet
