"""A pyramid of GANs: a small image, then the details of each larger size.

Source: Denton et al. (2015), LAPGAN, sections 2.2 and 2.3. A GAN generates the smallest image. At
each larger size, a generator is given the enlarged smaller image and generates the difference from
the full one (the details); a discriminator is given the sum of both and the enlarged image. All
levels are trained on smaller versions of real images, as in the paper; sampling uses the generated
smaller image.

Deviations: all networks are conditional by embeddings, and the discriminators learn from wrong
labels (`mismatch`); the noise is divided among the levels; all levels are trained at the same time;
bicubic resizing instead of the paper's blur; minibatch discrimination (Salimans et al. 2016) as an
option at the smallest size, where nothing else prevents one image per class.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pipeline.config.validation import MAX_WIDTH, Width
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.generators.gan.base import CrossEntropyConfig, CrossEntropyGame
from pipeline.generators.gan.blocks import MinibatchDiscrimination, resized
from pipeline.generators.labels import LabelEmbedding
from pipeline.generators.showcase import COLUMNS, interleave_rows
from pipeline.nn.backend import autocast
from pipeline.nn.layers import SLOPE, downsampling_blocks
from pipeline.runtime.seeds import derive_seed

NUM_LEVELS = 3


class LAPGANConfig(CrossEntropyConfig):
    """Of `lapgan`."""

    latent_dim: Width = 32  # of each of the three levels
    width: Width = 256  # of the dense layers at the smallest size
    channels: Width = 32  # of the convolutions at the other sizes
    # Of minibatch discrimination; 0: none. Without it (learning rates 0.004) a class became one
    # image in 8 of 10 labeled subsets.
    minibatch_kernels: int = Field(default=20, ge=0, le=MAX_WIDTH)


class SmallestGeneratorNet(nn.Module):
    """Noise (n, latent_dim) and labels (n,) to images of the smallest size."""

    def __init__(self, config: LAPGANConfig, spec: ImageSpec, size: tuple[int, int]) -> None:
        super().__init__()
        self.shape = (spec.channels, *size)
        self.embed = LabelEmbedding(spec.num_classes, config.latent_dim)
        self.layers = nn.Sequential(
            *dense(2 * config.latent_dim, config.width, norm=True),
            *dense(config.width, config.width, norm=True),
            nn.Linear(config.width, math.prod(self.shape)),
            nn.Tanh(),
        )

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        rows = torch.cat([z, self.embed(y)], dim=1)
        return cast("Tensor", self.layers(rows)).unflatten(1, self.shape)


class SmallestDiscriminator(nn.Module):
    """Images of the smallest size and labels (n,) to realness scores (n,)."""

    def __init__(self, config: LAPGANConfig, spec: ImageSpec, size: tuple[int, int]) -> None:
        super().__init__()
        pixels = spec.channels * math.prod(size)
        self.embed = LabelEmbedding(spec.num_classes, pixels)
        self.layers = nn.Sequential(
            *dense(2 * pixels, config.width), *dense(config.width, config.width)
        )
        self.compare = MinibatchDiscrimination(config.width, config.minibatch_kernels)
        self.score = nn.Linear(config.width + config.minibatch_kernels, 1)

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        rows = self.layers(torch.cat([x.flatten(1), self.embed(y).to(x.dtype)], dim=1))
        return cast("Tensor", self.score(torch.cat([rows, self.compare(rows)], dim=1)))[:, 0]


class DetailGeneratorNet(nn.Module):
    """Enlarged smaller images, noise and labels to details: what they lack."""

    def __init__(self, config: LAPGANConfig, spec: ImageSpec, size: tuple[int, int]) -> None:
        super().__init__()
        self.plane = (1, *size)
        self.noise = nn.Linear(config.latent_dim, math.prod(size))
        self.embed = LabelEmbedding(spec.num_classes, math.prod(size))
        self.layers = nn.Sequential(
            nn.Conv2d(spec.channels + 2, config.channels, 5, padding=2),
            nn.BatchNorm2d(config.channels),
            nn.ReLU(),
            nn.Conv2d(config.channels, config.channels, 3, padding=1),
            nn.BatchNorm2d(config.channels),
            nn.ReLU(),
            nn.Conv2d(config.channels, spec.channels, 3, padding=1),
        )

    @override
    def forward(self, low: Tensor, z: Tensor, y: Tensor) -> Tensor:
        planes = [plane.unflatten(1, self.plane) for plane in (self.noise(z), self.embed(y))]
        return cast("Tensor", self.layers(torch.cat([low, *planes], dim=1)))


class DetailDiscriminator(nn.Module):
    """Images, the enlarged smaller ones, and labels (n,) to realness scores (n,)."""

    def __init__(self, config: LAPGANConfig, spec: ImageSpec, size: tuple[int, int]) -> None:
        super().__init__()
        self.plane = (1, *size)
        self.embed = LabelEmbedding(spec.num_classes, math.prod(size))
        width = config.channels
        quarter = -(-size[0] // 4) * -(-size[1] // 4)
        self.layers = nn.Sequential(
            *downsampling_blocks((2 * spec.channels + 1, width, 2 * width)),
            nn.Flatten(),
            nn.Linear(2 * width * quarter, 1),
        )

    @override
    def forward(self, x: Tensor, low: Tensor, y: Tensor) -> Tensor:
        plane = self.embed(y).unflatten(1, self.plane).to(x.dtype)
        return cast("Tensor", self.layers(torch.cat([x, low, plane], dim=1)))[:, 0]


class Pyramid(nn.Module):
    """Noise (n, noise_dim) and labels (n,) to images (n, c, h, w), from level to level."""

    def __init__(self, config: LAPGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.sizes = sizes(spec)
        self.smallest = SmallestGeneratorNet(config, spec, self.sizes[0])
        self.details = nn.ModuleList(
            DetailGeneratorNet(config, spec, size) for size in self.sizes[1:]
        )

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.levels(z, y)[-1].clamp(-1, 1)

    def levels(self, z: Tensor, y: Tensor, lows: list[Tensor] | None = None) -> list[Tensor]:
        """Images of all levels, smallest first.

        Details are added to `lows`, enlarged smaller real images, or to the level before.
        """
        parts = z.chunk(NUM_LEVELS, dim=1)
        images = [self.smallest(parts[0], y)]
        for number, (detail, size) in enumerate(zip(self.details, self.sizes[1:], strict=True)):
            low = lows[number] if lows else resized(images[-1], size)
            images.append(low + detail(low, parts[number + 1], y))
        return images


class PyramidDiscriminator(nn.Module):
    """Flattened pyramids and labels (n,) to realness scores of every level, (n, levels)."""

    def __init__(self, config: LAPGANConfig, spec: ImageSpec) -> None:
        super().__init__()
        small, *larger = sizes(spec)
        self.shapes = pyramid_shapes(spec)
        self.smallest = SmallestDiscriminator(config, spec, small)
        self.details = nn.ModuleList(DetailDiscriminator(config, spec, size) for size in larger)

    @override
    def forward(self, pyramid: Tensor, y: Tensor) -> Tensor:
        smallest, *others = unflattened(pyramid, self.shapes)
        scores = [self.smallest(smallest, y)]
        for number, discriminator in enumerate(self.details):
            scores.append(discriminator(others[2 * number], others[2 * number + 1], y))
        return torch.stack(scores, dim=1)


class LAPGAN(CrossEntropyGame):
    """See the module; a pyramid of images and enlarged smaller ones is one flat row."""

    Config = LAPGANConfig
    config: LAPGANConfig
    generator_net: Pyramid

    def __init__(self, config: LAPGANConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.noise_dim = NUM_LEVELS * config.latent_dim
        self.sizes, self.shapes = sizes(spec), pyramid_shapes(spec)
        self.set_networks(Pyramid(config, spec), PyramidDiscriminator(config, spec))

    @override
    def preprocess(self, real: Tensor) -> Tensor:
        """Flattened pyramids of real images."""
        levels = [real]
        for size in reversed(self.sizes[:-1]):
            levels.insert(0, resized(levels[0], size))
        lows = [
            resized(small, size) for small, size in zip(levels[:-1], self.sizes[1:], strict=True)
        ]
        return flattened(levels, lows)

    @override
    def generate(self, z: Tensor, labels: Tensor, real: Tensor) -> Tensor:
        """Flattened pyramids: details added to enlarged smaller real images."""
        lows = unflattened(real, self.shapes)[2::2]
        with autocast(self.precision):
            levels = self.generator_net.levels(z, labels, lows)
        return flattened(levels, lows).float()

    @override
    def showcase(self, data: LabeledImages, seed: int) -> dict[str, Tensor]:
        """Rows of ten images: the smallest size, then details and image of each larger one."""
        labels = torch.arange(COLUMNS) % self.spec.num_classes
        noise = self.noise([derive_seed("exhibit", seed, place) for place in range(COLUMNS)])
        images = self.generator_net.levels(noise, labels)
        rows = images[:1]
        for low, image, size in zip(images, images[1:], self.sizes[1:], strict=False):
            rows += [image - resized(low, size), image]
        full = [functional.interpolate(row, self.sizes[-1], mode="nearest") for row in rows]
        return {"levels": interleave_rows(*full)}


def sizes(spec: ImageSpec) -> list[tuple[int, int]]:
    """Height and width of every level, smallest first; halves are rounded up."""
    result = [(spec.height, spec.width)]
    for _ in range(NUM_LEVELS - 1):
        result.insert(0, (-(-result[0][0] // 2), -(-result[0][1] // 2)))
    return result


def pyramid_shapes(spec: ImageSpec) -> list[tuple[int, int, int]]:
    """Shapes (c, h, w) of the parts of a flattened pyramid, see `flattened`."""
    small, *larger = ((spec.channels, *size) for size in sizes(spec))
    return [small, *(shape for part in larger for shape in (part, part))]


def flattened(levels: list[Tensor], lows: list[Tensor]) -> Tensor:
    """The smallest image, then per level the image and the enlarged smaller one, as rows."""
    parts = [levels[0]]
    for image, low in zip(levels[1:], lows, strict=True):
        parts += [image, low]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def unflattened(rows: Tensor, shapes: list[tuple[int, int, int]]) -> list[Tensor]:
    """The parts of rows that `flattened` made."""
    parts = rows.split([math.prod(shape) for shape in shapes], dim=1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]


def dense(before: int, after: int, norm: bool = False) -> list[nn.Module]:
    """A dense layer, batch norm if `norm`, and leaky ReLU."""
    norms: list[nn.Module] = [nn.BatchNorm1d(after)] if norm else []
    return [nn.Linear(before, after), *norms, nn.LeakyReLU(SLOPE)]
