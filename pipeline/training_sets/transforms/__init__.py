"""The registry of transforms: one file and one line per family, no logic.

This file is part of no trial's fingerprint.
"""

from collections.abc import Callable

from pipeline.config.validation import Section
from pipeline.nn.augment import AffineConfig, ElasticConfig, affine, elastic
from pipeline.nn.mixing import AnyTransform
from pipeline.training_sets.transforms.color import ColorConfig, color
from pipeline.training_sets.transforms.crop import CropConfig, crop
from pipeline.training_sets.transforms.cutmix import CutMixConfig, cutmix
from pipeline.training_sets.transforms.erasing import ErasingConfig, erasing
from pipeline.training_sets.transforms.flip import FlipConfig, flip
from pipeline.training_sets.transforms.mixup import MixUpConfig, mixup
from pipeline.training_sets.transforms.randaugment import RandAugmentConfig, randaugment
from pipeline.training_sets.transforms.sequence import SequenceConfig, sequence
from pipeline.training_sets.transforms.trivialaugment import TrivialAugmentConfig, trivialaugment
from pipeline.training_sets.transforms.tuned import TunedConfig, tuned

TRANSFORMS: dict[str, tuple[type[Section], Callable[..., AnyTransform]]] = {
    "affine": (AffineConfig, affine),
    "elastic": (ElasticConfig, elastic),
    "flip": (FlipConfig, flip),
    "color": (ColorConfig, color),
    "crop": (CropConfig, crop),
    "erasing": (ErasingConfig, erasing),
    "randaugment": (RandAugmentConfig, randaugment),
    "trivialaugment": (TrivialAugmentConfig, trivialaugment),
    "mixup": (MixUpConfig, mixup),
    "cutmix": (CutMixConfig, cutmix),
    "sequence": (SequenceConfig, sequence),
    "tuned": (TunedConfig, tuned),
}
