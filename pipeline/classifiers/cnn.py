"""A small network like LeNet: two convolutions, three for larger images, and one dense layer.

Source: LeCun et al. (1998), "Gradient-based learning applied to document recognition". Deviations:
the network sees the difference from the background, which its convolutions pad with; batch
normalization (Ioffe and Szegedy 2015), ReLU and max pooling replace the original's squashing
functions and subsampling; the optimizer is AdamW (Loshchilov and Hutter 2019) on a one-cycle
schedule (Smith 2018).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from pipeline.classifiers.base import Classifier, TrainingSet
from pipeline.config.validation import Section, Width
from pipeline.data.images import Images, ImageSpec
from pipeline.nn.backend import seeded, stream
from pipeline.nn.background import relative
from pipeline.nn.mixing import apply_transform
from pipeline.nn.optimizing import OneCycle
from pipeline.nn.sampling import cumulative_weights, sample_indices
from pipeline.nn.tensors import map_images, to_input
from pipeline.runtime.seeds import derive_seed

KERNEL = 5
# Two unpadded 5 x 5 convolutions with pooling leave nothing of images that are smaller than this.
MIN_UNPADDED_SIDE = 20
# From this side on there is a third convolution, all are padded, and the first pooling leaves maps
# whose shorter side has about this many pixels.
MIN_SIDE_THREE, POOLED_SIDE = 32, 16
PREDICT_BATCH = 1000


class CNNConfig(Section):
    """The number of steps is the same for every arm, whatever its number of images."""

    steps: int = Field(default=500, gt=1, le=1_000_000)
    batch_size: int = Field(default=32, gt=1, le=1_000_000)
    learning_rate: float = Field(default=0.003, gt=0)  # the peak of the one-cycle schedule
    weight_decay: float = Field(default=0.01, ge=0)
    channels: Width = 16  # of the first convolution; each further one has twice as many
    features: Width = 128  # width of the dense layer
    dropout: float = Field(default=0.3, ge=0, lt=1)


class Network(nn.Module, ABC):
    """Images (n, c, h, w) in 0..1 to class scores (n, num_classes).

    A subclass provides the convolutions; the dense layer and the scores are the same for all.
    """

    def __init__(self, config: CNNConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *self.convolve(config, spec), nn.Flatten(), nn.LazyLinear(config.features), nn.ReLU()
        )
        self.scores = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(config.features, spec.num_classes)
        )

        # A first forward pass sets the input width of the lazy layer.
        with torch.no_grad():
            self.eval()(torch.zeros(1, spec.channels, spec.height, spec.width))

    @override
    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.scores(self.features(images)))

    @staticmethod
    @abstractmethod
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        """The layers before the dense layer."""


class LeNet(Network):
    """Two or three times: convolution, batch normalization, ReLU, max pooling."""

    @staticmethod
    @override
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        side, width = min(spec.height, spec.width), config.channels
        padding = 0 if MIN_UNPADDED_SIDE <= side < MIN_SIDE_THREE else KERNEL // 2
        pooling = side // POOLED_SIDE if side >= MIN_SIDE_THREE else 2
        third = _block(2 * width, 4 * width, padding) if side >= MIN_SIDE_THREE else []
        return [
            *relative(spec.background),
            *_block(spec.channels, width, padding, pooling),
            *_block(width, 2 * width, padding),
            *third,
        ]


def _block(width_in: int, width_out: int, padding: int, pooling: int = 2) -> list[nn.Module]:
    convolution = nn.Conv2d(width_in, width_out, KERNEL, padding=padding)
    return [convolution, nn.BatchNorm2d(width_out), nn.ReLU(), nn.MaxPool2d(pooling)]


class CNN(Classifier):
    """A `Network` trained with cross-entropy for a fixed number of steps."""

    Config = CNNConfig
    learns_from_mixed = True
    Network: ClassVar[type[Network]] = LeNet
    config: CNNConfig
    network: nn.Module

    @override
    def build(self, spec: ImageSpec) -> None:
        self.network = self.untrained(spec)

    @override
    def fit(self, training_set: TrainingSet) -> Self:
        """Train from scratch and return self.

        Batches are sampled with replacement, with probabilities proportional to the weights. Every
        step has its own seed.
        """
        config, data = self.config, training_set.data
        spec = replace(data.spec(), num_classes=training_set.num_classes)
        images, labels = to_input(data.images), torch.from_numpy(data.labels)
        edges = cumulative_weights(training_set.weights, total=len(data))

        with seeded(derive_seed("initial", self.seed)):
            network = self.network = self.untrained(spec).to(memory_format=torch.channels_last)
            training = OneCycle(network, config.learning_rate, config.weight_decay, config.steps)
            network.train()

            for step in range(config.steps):
                torch.manual_seed(derive_seed("step", self.seed, step))
                index = sample_indices(edges, config.batch_size)
                generator = stream(derive_seed("view", self.seed, step))
                batch, targets = apply_transform(
                    training_set.transform,
                    images[index],
                    labels[index],
                    spec.num_classes,
                    generator,
                )
                training.step(functional.cross_entropy(network(batch), targets))

        network.eval()
        return self

    def untrained(self, spec: ImageSpec) -> nn.Module:
        """The network before its first step, initialized from torch's global random state."""
        return self.Network(self.config, spec)

    @override
    def state(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    @override
    def load(self, state: Mapping[str, Tensor], spec: ImageSpec) -> Self:
        # The random initial weights are overwritten; the block keeps the global state as it is.
        with seeded(self.seed):
            network = self.Network(self.config, spec)
        network.load_state_dict(dict(state))
        self.network = network.to(memory_format=torch.channels_last).eval()
        return self

    @override
    def digest(self) -> str:
        running = hashlib.sha256()
        for name, value in self.state().items():
            running.update(f"{name}\0{tuple(value.shape)}\0".encode())
            running.update(value.contiguous().numpy().tobytes())
        return running.hexdigest()

    @override
    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        return self._in_batches(images, lambda batch: self.network(batch).softmax(dim=1))

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Activations of the dense layer, (n, features), as an embedding of uint8 images."""
        return self._in_batches(images, cast("nn.Module", self.network.features))

    def _in_batches(
        self, images: Images, function: Callable[[Tensor], Tensor]
    ) -> NDArray[np.float32]:
        return map_images(images, function, PREDICT_BATCH, pad=False)
