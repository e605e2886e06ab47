"""A small LeNet-like network: two convolutions, one dense layer.

Source: LeCun et al. (1998), "Gradient-based learning applied to document recognition", with batch
normalisation (Ioffe and Szegedy 2015), ReLU and max pooling in place of the original's squashing
and subsampling; AdamW (Loshchilov and Hutter 2019) on a one-cycle schedule (Smith 2018).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from pipeline.classifiers.base import Classifier, TrainingSet
from pipeline.config.validation import Count, Section
from pipeline.data.images import Images, ImageSpec
from pipeline.nn.backend import seeded, stream
from pipeline.nn.optimizing import OneCycle
from pipeline.nn.sampling import cumulative_weights, sample_indices
from pipeline.nn.tensors import map_images, to_input
from pipeline.runtime.seeds import derive_seed

KERNEL = 5
# Below this size two unpadded 5 x 5 convolutions with pooling would leave nothing of the image.
UNPADDED_FROM = 20
PREDICT_BATCH = 1000


class CNNConfig(Section):
    """All arms take the same number of steps, however many images they train on."""

    steps: int = Field(gt=1, le=1_000_000)
    batch_size: int = Field(gt=1, le=1_000_000)
    learning_rate: float = Field(gt=0)  # the peak of the cycle
    weight_decay: float = Field(ge=0)
    channels: Count  # of the first convolution; the second has twice as many
    features: Count  # width of the dense layer
    dropout: float = Field(ge=0, lt=1)


class Network(nn.Module, ABC):
    """Images (n, c, h, w) in 0..1 to class scores (n, num_classes): convolutions, a dense layer."""

    def __init__(self, config: CNNConfig, spec: ImageSpec) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *self.convolve(config, spec), nn.Flatten(), nn.LazyLinear(config.features), nn.ReLU()
        )
        self.scores = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(config.features, spec.num_classes)
        )
        with torch.no_grad():  # settles the lazy layer's input width
            self.eval()(torch.zeros(1, spec.channels, spec.height, spec.width))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return cast("Tensor", self.scores(self.features(images)))

    @staticmethod
    @abstractmethod
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        """The layers before the dense one."""


class LeNet(Network):
    """See the module."""

    @staticmethod
    def convolve(config: CNNConfig, spec: ImageSpec) -> list[nn.Module]:
        """See `Network.convolve`."""
        padding = 0 if min(spec.height, spec.width) >= UNPADDED_FROM else KERNEL // 2
        return [
            *_block(spec.channels, config.channels, padding),
            *_block(config.channels, 2 * config.channels, padding),
        ]


def _block(width_in: int, width_out: int, padding: int) -> list[nn.Module]:
    convolution = nn.Conv2d(width_in, width_out, KERNEL, padding=padding)
    return [convolution, nn.BatchNorm2d(width_out), nn.ReLU(), nn.MaxPool2d(2)]


class CNN(Classifier):
    """`Network` trained with cross-entropy for a fixed number of steps."""

    Config = CNNConfig
    Network: ClassVar[type[Network]] = LeNet
    config: CNNConfig
    network: nn.Module

    def fit(self, training_set: TrainingSet) -> CNN:
        """See `Classifier.fit`. Batches are drawn with replacement, each from a seed of its own.

        An image is drawn in proportion to its weight.
        """
        config, data = self.config, training_set.data
        with seeded(derive_seed("initial", self.seed)):
            spec = replace(data.spec(), num_classes=training_set.num_classes)
            network = self.untrained(spec)
            self.network = network.to(memory_format=torch.channels_last)
            training = OneCycle(network, config.learning_rate, config.weight_decay, config.steps)
            images, labels = to_input(data.images), torch.from_numpy(data.labels)
            edges = cumulative_weights(training_set.weights, total=len(data))
            network.train()
            for step in range(config.steps):
                torch.manual_seed(derive_seed("step", self.seed, step))
                index = sample_indices(edges, config.batch_size)
                batch = images[index]
                if training_set.transform is not None:
                    generator = stream(derive_seed("view", self.seed, step))
                    batch = training_set.transform(batch, generator)
                training.step(functional.cross_entropy(network(batch), labels[index]))
        network.eval()
        return self

    def untrained(self, spec: ImageSpec) -> nn.Module:
        """The network before its first step, by torch's global random state."""
        return self.Network(self.config, spec)

    def digest(self) -> str:
        """See `Classifier.digest`."""
        running = hashlib.sha256()
        for name, value in self.network.state_dict().items():
            running.update(f"{name}\0{tuple(value.shape)}\0".encode())
            running.update(value.contiguous().numpy().tobytes())
        return running.hexdigest()

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """See `Classifier.predict_proba`."""
        return self._in_batches(images, lambda batch: self.network(batch).softmax(dim=1))

    def embed(self, images: Images) -> NDArray[np.float32]:
        """The dense layer's activations, (n, features): where distances between sets are taken."""
        return self._in_batches(images, cast("nn.Module", self.network.features))

    def _in_batches(
        self, images: Images, function: Callable[[Tensor], Tensor]
    ) -> NDArray[np.float32]:
        return map_images(images, function, PREDICT_BATCH, pad=False)
