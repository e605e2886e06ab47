"""A classifier built like a textbook's discriminator, which can start from a trained one.

Source: Radford, Metz and Chintala (2016), section 5: a discriminator's convolutions are features
that labels can be read from. Two convolutions of 5 x 5 with stride 2, leaky ReLU, then a dense
layer that is always new. Deviation: all of it is trained on, not only what is new, as `cnn` is. It
starts from the discriminators of `plain_dcgan`, `wgan`, `wgan_gp`, `acgan` and `srgan`, whose
`critic.channels` must be `channels` and twice as many.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.classifiers.cnn import CNN, CNNConfig, Network
from pipeline.errors import ParamsError
from pipeline.images import ImageSpec
from pipeline.layers import convolutions, halvings


class Centered(nn.Module):
    """Images in 0..1 to the -1..1 that discriminators see."""

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return images * 2 - 1


class CriticNet(Network):
    """See the module."""

    @staticmethod
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        """See `Network.convolve`."""
        channels = (spec.channels, config.channels, 2 * config.channels)
        return [Centered(), *halvings(channels)]


class Critic(CNN):
    """See the module."""

    Network = CriticNet
    start: Mapping[str, Tensor] | None = None

    def start_from(self, critic: Mapping[str, Tensor]) -> None:
        """See `Classifier.start_from`."""
        self.start = critic

    @torch.no_grad()
    def untrained(self, spec: ImageSpec) -> nn.Module:
        """See `CNN.untrained`; the dense layers are the same from wherever it starts."""
        network = super().untrained(spec)
        if self.start is not None:
            own = {
                f"{number}.{part}": getattr(layer, part)
                for number, layer in enumerate(convolutions(network))
                for part in ("weight", "bias")
            }
            expected, found = ({name: tuple(each.shape) for name, each in weights.items()}
                               for weights in (own, self.start))  # fmt: skip
            if expected != found:
                raise ParamsError(
                    "classifiers.critic",
                    f"expected a discriminator with convolutions of {expected}, found "
                    f"{found or 'none'}",
                    "let its arm name another generator, or make channels that of its `critic`",
                )
            for name, value in own.items():
                value.copy_(self.start[name])
        return network
