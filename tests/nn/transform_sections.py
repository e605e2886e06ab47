"""Settings of every family of transforms, for the tests over the registry."""

from __future__ import annotations

from pipeline.config.schema import TransformParams

SECTIONS = {
    "affine": TransformParams(degrees=15, translate=0.1, scale=0.1, shear=10),
    "elastic": TransformParams(degrees=15, translate=0.1, scale=0.1, shear=10, bend=0.02),
    "flip": TransformParams(horizontal=0.5, vertical=0.5),
    "color": TransformParams(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "crop": TransformParams(scale=0.5, ratio=1.5, padding=0.1),
    "erasing": TransformParams(probability=0.9, area=0.3),
    "randaugment": TransformParams(num_ops=2, magnitude=15),
    "trivialaugment": TransformParams(),
    "mixup": TransformParams(alpha=1.0),
    "cutmix": TransformParams(alpha=1.0),
    "sequence": TransformParams(of=["crop", "flip"]),
    "tuned": TransformParams(choices=["none", "affine", "sequence"]),
}
# They move pixels and change no color, but for that of what they erase.
MOVING = ["affine", "elastic", "flip", "crop", "erasing", "sequence"]
# They mix labels, or are replaced before they are built.
OTHERS = ["mixup", "cutmix", "tuned"]
