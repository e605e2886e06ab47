"""Two widely copied conditional GANs, as references for the project's own.

Both are recipes of a popular collection of examples (github.com/eriklindernoren/PyTorch-GAN:
`cgan.py` and `acgan.py`) on the project's fit loop, so that only the recipes differ: the same
precision, memory format, fused optimizer and recalibrated batch statistics before sampling, but no
averaged weights and no decay of learning rates. They are not in the registry, since they are only
for comparisons.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pipeline.config.validation import Count
from pipeline.data.images import ImageSpec
from pipeline.generators.base import Generator, GeneratorConfig

LEARNING_RATE, BETAS = 0.0002, (0.5, 0.999)
SLOPE = 0.2  # of leaky ReLU
BATCH_NORM_EPS = 0.8  # the recipes meant it as a momentum; it affects their results
AS_THEY_ARE = {"degrees": 0, "translate": 0, "scale": 0, "shear": 0}
SETTINGS = {
    "steps": 1,
    "steps_per_image": 0,
    "max_steps": 1,
    "batch_size": 64,
    "latent_dim": 100,
    "ema_decay": 0.0,
    "decay_from": 1.0,
    "rare_oversampling": 1,
    "precision": "auto",
    "augmentation": AS_THEY_ARE,
}


class TextbookConfig(GeneratorConfig):
    """The settings of both recipes."""

    latent_dim: Count


class MLPGeneratorNet(nn.Module):
    """Noise (n, latent_dim) and labels (n,) to images (n, c, h, w) in -1..1."""

    def __init__(self, config: TextbookConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.shape = (spec.channels, spec.height, spec.width)
        self.embed = nn.Embedding(spec.num_classes, spec.num_classes)
        first = nn.Linear(config.latent_dim + spec.num_classes, 128)
        layers: list[nn.Module] = [first, nn.LeakyReLU(SLOPE)]
        for before, after in ((128, 256), (256, 512), (512, 1024)):
            norm = nn.BatchNorm1d(after, BATCH_NORM_EPS)
            layers += [nn.Linear(before, after), norm, nn.LeakyReLU(SLOPE)]
        size = spec.channels * spec.height * spec.width
        self.model = nn.Sequential(*layers, nn.Linear(1024, size), nn.Tanh())

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return cast("Tensor", self.model(torch.cat([self.embed(y), z], 1))).unflatten(1, self.shape)


class MLPDiscriminator(nn.Module):
    """Images (n, c, h, w) and labels (n,) to realness (n,)."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.embed = nn.Embedding(spec.num_classes, spec.num_classes)
        size = spec.channels * spec.height * spec.width + spec.num_classes
        self.model = nn.Sequential(
            nn.Linear(size, 512),
            nn.LeakyReLU(SLOPE),
            nn.Linear(512, 512),
            nn.Dropout(0.4),
            nn.LeakyReLU(SLOPE),
            nn.Linear(512, 512),
            nn.Dropout(0.4),
            nn.LeakyReLU(SLOPE),
            nn.Linear(512, 1),
        )

    @override
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        rows = torch.cat([x.flatten(1), self.embed(y)], 1)
        return cast("Tensor", self.model(rows))[:, 0]


class MLPGAN(Generator):
    """Conditional GAN of dense layers. Source: Mirza and Osindero (2014), with squared losses."""

    Config = TextbookConfig

    def __init__(self, config: TextbookConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.noise_dim = config.latent_dim
        self.generator_net, self.discriminator = (
            MLPGeneratorNet(config, spec),
            MLPDiscriminator(spec),
        )
        self.networks = nn.ModuleDict({"sampler": self.generator_net, "critic": self.discriminator})
        self.optimizers = {name: _adam(network) for name, network in self.networks.items()}

    @override
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        # First the generator, then the discriminator.
        y = torch.randint(self.spec.num_classes, (len(real),))
        noise = self.sample_noise(len(real))
        fake = self.in_precision(self.generator_net, noise, y)
        generator = (self.in_precision(self.discriminator, fake, y) - 1).square().mean()
        _step(self.optimizers["sampler"], generator)
        discriminator_loss = (
            (self.in_precision(self.discriminator, real, labels) - 1).square().mean()
        )
        refused = self.in_precision(self.discriminator, fake.detach(), y).square().mean()
        discriminator_loss = (discriminator_loss + refused) / 2
        _step(self.optimizers["critic"], discriminator_loss)
        return {"generator": generator, "discriminator": discriminator_loss}


class ACGeneratorNet(nn.Module):
    """Noise (n, latent_dim) and labels (n,) to images (n, c, h, w) in -1..1."""

    def __init__(self, config: TextbookConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.start = (128, spec.height // 4, spec.width // 4)
        self.embed = nn.Embedding(spec.num_classes, config.latent_dim)
        self.project = nn.Linear(config.latent_dim, 128 * self.start[1] * self.start[2])
        self.model = nn.Sequential(
            nn.BatchNorm2d(128),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.BatchNorm2d(128, BATCH_NORM_EPS),
            nn.LeakyReLU(SLOPE),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.BatchNorm2d(64, BATCH_NORM_EPS),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(64, spec.channels, 3, padding=1),
            nn.Tanh(),
        )

    @override
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        start = self.project(self.embed(y) * z).unflatten(1, self.start)
        return cast("Tensor", self.model(start))


class ACDiscriminator(nn.Module):
    """Images (n, c, h, w) to realness and class scores, (n, 1 + num_classes)."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((spec.channels, 16), (16, 32), (32, 64), (64, 128)):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1)
            layers += [convolution, nn.LeakyReLU(SLOPE), nn.Dropout2d(0.25)]
            layers += [nn.BatchNorm2d(after, BATCH_NORM_EPS)] if before > spec.channels else []
        self.features = nn.Sequential(*layers, nn.Flatten())
        size = 128 * -(-spec.height // 16) * -(-spec.width // 16)
        self.score, self.classify = nn.Linear(size, 1), nn.Linear(size, spec.num_classes)

    @override
    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        return torch.cat([self.score(features), self.classify(features)], dim=1)


class ACGAN(Generator):
    """Auxiliary-classifier GAN with convolutions of 128, 128 and 64 channels.

    Source: Odena, Olah and Shlens (2017). Deviations from the copied recipe, in its favor: class
    scores go into the cross-entropy directly, not through a softmax first, and images keep their
    size; the recipe enlarges those of MNIST to 32 x 32, which is a third more work. Gains of batch
    norm start at 1, not around it.
    """

    Config = TextbookConfig

    def __init__(self, config: TextbookConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.noise_dim = config.latent_dim
        self.generator_net = ACGeneratorNet(config, spec).to(memory_format=torch.channels_last)
        self.discriminator = ACDiscriminator(spec).to(memory_format=torch.channels_last)
        self.networks = nn.ModuleDict({"sampler": self.generator_net, "critic": self.discriminator})
        for layer in self.networks.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
        self.optimizers = {name: _adam(network) for name, network in self.networks.items()}

    @override
    def update(self, real: Tensor, labels: Tensor) -> dict[str, Tensor]:
        # First the generator, then the discriminator.
        y = torch.randint(self.spec.num_classes, (len(real),))
        noise = self.sample_noise(len(real))
        fake = self.in_precision(self.generator_net, noise, y)
        generator = self._loss(fake, 1.0, y)
        _step(self.optimizers["sampler"], generator)
        discriminator_loss = (self._loss(real, 1.0, labels) + self._loss(fake.detach(), 0.0, y)) / 2
        _step(self.optimizers["critic"], discriminator_loss)
        return {"generator": generator, "discriminator": discriminator_loss}

    def _loss(self, images: Tensor, realness: float, labels: Tensor) -> Tensor:
        outputs = self.in_precision(self.discriminator, images)
        scores, classes = outputs[:, 0], outputs[:, 1:]
        target = torch.full_like(scores, realness)
        adversarial = functional.binary_cross_entropy_with_logits(scores, target)
        return (adversarial + functional.cross_entropy(classes, labels)) / 2


TEXTBOOK: dict[str, type[Generator]] = {"mlp_gan": MLPGAN, "ac_gan": ACGAN}


def _adam(network: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), LEARNING_RATE, betas=BETAS, fused=True)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
