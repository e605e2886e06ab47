"""A generator of half the size, and a super-resolution network that doubles its images.

Source: Ledig et al. (2017), SRGAN, equations 3 to 6: residual blocks and a pixel shuffle, trained
to restore real images from smaller ones by a content loss and a discriminator.

Deviations: there is no network pretrained on photographs to compare features, so that the content
loss is the mean squared error of pixels, as in the paper's SRResNet; the network adds to the
bicubically enlarged image; the discriminator is conditional and learns from wrong labels
(`mismatch`); two blocks of few channels suffice for digits.

Both are trained at the same time and independently of each other. The doubling network learns from
real images that were made smaller; the smaller generator can be of any other family (`half`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pipeline.config.validation import Member, Width, member_config
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.generators.base import Generator, GeneratorConfig, Loss
from pipeline.generators.gan.base import CrossEntropyConfig, CrossEntropyGame
from pipeline.generators.gan.blocks import (
    REGULARIZED,
    ConvolutionalDiscriminator,
    DiscriminatorConfig,
    resized,
)
from pipeline.generators.showcase import evenly_spaced, interleave_rows
from pipeline.nn.tensors import to_pixels, to_signed_input
from pipeline.runtime.errors import ParamsError

NUM_BLOCKS = 2
DOUBLED_ROWS = 3  # of ten images, in a figure
HALF_FAMILY = "plain_dcgan"  # of half, unless it names another


class SRGANConfig(CrossEntropyConfig):
    """Of `srgan`; the settings of the fit, `latent_dim` and `noise` also hold for `half`."""

    discriminator: DiscriminatorConfig = REGULARIZED
    double_channels: Width = 24  # of the doubling network
    adversarial_weight: float = Field(default=0.001, ge=0)  # the content loss has 1
    # The generator of half the size: its family, and what differs from that family's defaults.
    half: Member = Field(
        default={
            "family": HALF_FAMILY,
            "generator": {
                "channels": [128, 64, 32],
                "label_dim": 10,
                "upsample": False,
                "dropout": 0.0,
            },
        }
    )

    @field_validator("half")
    @classmethod
    def _half_is_valid(cls, half: Member, info: ValidationInfo) -> Member:
        try:
            smaller(half, info.data)
        except ParamsError as error:
            raise ValueError(error.args[1]) from None
        return half

    @model_validator(mode="after")
    def _noise_is_read(self) -> SRGANConfig:
        family, _ = self.smaller()
        is_read = "noise" in family.Config.model_fields and "noise" not in self.half
        if self.noise != "normal" and not is_read:
            raise ValueError(
                f"noise: expected normal, since only half samples noise and does not read this "
                f"setting, found {self.noise}"
            )
        return self

    def smaller(self) -> tuple[type[Generator], GeneratorConfig]:
        """The family of half the size and its settings."""
        return smaller(self.half, self.model_dump())

    def parts(self) -> list[tuple[type[Generator], GeneratorConfig]]:
        """The members that decide a trial as well: the family of half and its settings."""
        return [self.smaller()]


def smaller(half: Member, whole: Mapping[str, Any]) -> tuple[type[Generator], GeneratorConfig]:
    """The family and the settings of `half`, which shares those of the fit with the `whole`.

    Raises `ParamsError` for wrong ones.
    """
    # Imported here, since the registry imports this module.
    from pipeline.generators import GENERATORS

    settings = dict(half)
    name = str(settings.pop("family", HALF_FAMILY))
    if name not in GENERATORS or name == "srgan":
        names = ", ".join(sorted(GENERATORS.keys() - {"srgan"}))
        raise ParamsError("half", f"family: expected one of {names}, found {name}", "name one")
    if repeated := ", ".join(sorted(GeneratorConfig.model_fields.keys() & settings.keys())):
        raise ParamsError(
            "half",
            f"expected no settings of the fit, which both share, found {repeated}",
            "set them beside half",
        )

    family = GENERATORS[name]
    shared = {*GeneratorConfig.model_fields, "latent_dim", "noise"}
    shared &= family.Config.model_fields.keys() & whole.keys()
    settings = {**{key: whole[key] for key in shared}, **settings}
    return family, member_config(family.Config, settings, "half")


class Doubler(nn.Module):
    """Images (n, c, h/2, w/2) in -1..1, halves rounded up, to images (n, c, h, w) in -1..1."""

    def __init__(self, channels: int, spec: ImageSpec) -> None:
        super().__init__()
        self.size = (spec.height, spec.width)
        self.first = nn.Conv2d(spec.channels, channels, 5, padding=2)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.BatchNorm2d(channels),
                nn.PReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.BatchNorm2d(channels),
            )
            for _ in range(NUM_BLOCKS)
        )
        self.last = nn.Conv2d(channels, 4 * spec.channels, 3, padding=1)

    @override
    def forward(self, small: Tensor) -> Tensor:
        x = functional.relu(self.first(small))
        for block in self.blocks:
            x = x + block(x)
        detail = functional.pixel_shuffle(self.last(x), 2)
        height, width = self.size
        return (resized(small, self.size) + detail[:, :, :height, :width]).clamp(-1, 1)


class DoublingGeneratorNet(nn.Module):
    """Noise (n, latent_dim) and labels (n,) to images: the smaller generator, then the doubler."""

    def __init__(self, smaller: nn.Module, doubler: nn.Module) -> None:
        super().__init__()
        self.smaller, self.doubler = smaller, doubler

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return cast("Tensor", self.doubler(self.smaller(z, y)))


class SRGAN(CrossEntropyGame):
    """See the module; the game of this class is that of the doubling network."""

    Config = SRGANConfig
    config: SRGANConfig

    def __init__(self, config: SRGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.size = (-(-spec.height // 2), -(-spec.width // 2))
        family, half = config.smaller()
        self.smaller = family(half, replace(spec, height=self.size[0], width=self.size[1]))
        self.noise_dim = self.smaller.noise_dim
        self.doubler = Doubler(config.double_channels, spec)
        self.set_networks(self.doubler, ConvolutionalDiscriminator(config.discriminator, spec))
        self.generator_net = DoublingGeneratorNet(self.smaller.generator_net, self.doubler)
        others = {
            f"smaller_{name}": network
            for name, network in self.smaller.networks.items()
            if network is not self.smaller.generator_net
        }
        self.networks = nn.ModuleDict(
            {"sampler": self.generator_net, "critic": self.discriminator, **others}
        )
        self.optimizers |= {
            f"smaller_{key}": value for key, value in self.smaller.optimizers.items()
        }

    @override
    @classmethod
    def losses(cls, config: SRGANConfig) -> dict[str, Loss]:
        """The losses of half, and that of the doubling network."""
        family, half = config.smaller()
        return {**family.losses(half), "doubling": cls.loss}

    @override
    def to_latent(self, normal: Tensor) -> Tensor:
        return self.smaller.to_latent(normal)

    @override
    def finalize(self, generator_net: DoublingGeneratorNet, data: LabeledImages) -> None:
        small = to_pixels(resized(to_signed_input(data.images), self.size))
        self.smaller.finalize(generator_net.smaller, replace(data, images=small))

    @override
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        small = resized(real, self.size)
        losses = self.smaller.update(small, labels)  # this game decides what is sampled
        doubling = super().update(real, labels)
        return {**losses, **{f"doubling_{name}": value for name, value in doubling.items()}}

    @override
    def generate(self, z: Tensor, labels: Tensor, real: Tensor) -> Tensor:
        """Real images, made smaller and doubled."""
        doubled = self.in_precision(self.doubler, resized(real, self.size))
        self.content = functional.mse_loss(doubled, real)
        return doubled

    @override
    def showcase(self, data: LabeledImages, seed: int) -> dict[str, Tensor]:
        """Rows of real images; of the same in half the size, enlarged bicubically; and doubled."""
        real, _ = evenly_spaced(data, DOUBLED_ROWS)
        small = resized(real, self.size)
        bicubic = resized(small, (self.spec.height, self.spec.width))
        return {"doubling": interleave_rows(real, bicubic, self.doubler(small))}

    @override
    def generator_loss(self, fake: Tensor, labels: Tensor, z: Tensor) -> Tensor:
        """The content loss and the weighted adversarial loss."""
        adversarial = super().generator_loss(fake, labels, z)
        return self.content + self.config.adversarial_weight * adversarial

    @override
    def diagnostics(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Also the peak signal-to-noise ratio of the last batch, in decibels."""
        return {**super().diagnostics(real, fake), "psnr": psnr(self.content.detach())}


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels, for a mean squared error of pixels in -1..1."""
    return 10 * torch.log10(4 / mse.clamp_min(1e-10))
