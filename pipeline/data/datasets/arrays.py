"""What datasets of arrays share: shapes, labels and class names, validated and converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import ResizeParams
from pipeline.config.validation import Section
from pipeline.data.datasets.base import RawDataset
from pipeline.data.images import UNLABELED, Background, Images, LabeledImages
from pipeline.data.reading.listing import Val
from pipeline.data.reading.resizing import Resized, boxes_of, cost, refuse_size, resize_all
from pipeline.runtime.errors import DataError

Layout = Literal["auto", "nhwc", "nchw"]
CHANNELS = (1, 3)


class ArraysConfig(Section):
    """Where the arrays are and what their classes are called.

    `path`: relative to the project's folder or absolute. `class_names`: one per class, by label;
    None: the labels themselves. `val`: use of a validation part (auto: train, or test if there
    is no test part).
    """

    path: str
    class_names: list[str] | None = None
    val: Val = "auto"


@dataclass(frozen=True)
class Part:
    """Images as they are stored, with their labels; None: unlabeled."""

    images: NDArray[Any]
    labels: NDArray[Any] | None


@dataclass(frozen=True)
class Form:
    """How arrays become images: place in the file, class names, final size, color of padding."""

    where: str
    class_names: Sequence[str] | None = None
    resize: ResizeParams | None = None
    background: Background = None
    layout: Layout = "auto"
    val: Val = "auto"


def user_path(root: Path, path: str) -> Path:
    """The file or folder of `data.path`; raises `DataError` if it is not there."""
    found = root / Path(path).expanduser()
    if not found.exists():
        raise DataError(
            f"data.path {path}", f"expected a file or folder, found none at {found}", "correct it"
        )
    return found


def dataset_of(parts: Mapping[str, Part], form: Form) -> RawDataset:
    """The dataset of train, val, test and unlabeled; raises `DataError` for invalid arrays."""
    images: dict[str, Images] = {}
    results: dict[str, list[Resized]] = {name: [] for name in parts}
    labels = {name: flat_labels(part, form.where) for name, part in parts.items()}
    for name, part in parts.items():
        pixels = channels_first(part.images, form.where, form.layout)
        if form.resize is None:
            refuse_size(form.where, *pixels.shape[2:])
        else:
            pixels, results[name] = resize_all(pixels, form.resize, form.background)
        images[name] = pixels
    if all((pixels == pixels[:, :1]).all() for pixels in images.values()):
        images = {name: np.ascontiguousarray(pixels[:, :1]) for name, pixels in images.items()}
    sizes = {name: len(pixels) for name, pixels in images.items()}
    numbers, class_names = _numbered(labels, sizes, form)

    # The validation part belongs to one of the others.
    use = {"train": "train", "unlabeled": "train", "test": "test", "val": form.val}
    if form.val == "auto":
        use["val"] = "train" if "test" in parts else "test"
    joined, boxes = {}, {}
    for target in ("train", "test"):
        names = [name for name in ("train", "val", "test", "unlabeled") if name in parts]
        names = [name for name in names if use[name] == target]
        if names:
            joined[target] = LabeledImages(
                np.concatenate([images[name] for name in names]),
                np.concatenate([numbers[name] for name in names]),
                form.where if target == "train" else f"{form.where}, test part",
            )
            boxes[target] = boxes_of(
                form.resize, [each.box for name in names for each in results[name]]
            )
    if "train" not in joined:
        raise DataError(form.where, "expected a part for training, found none", "add it")
    notes = [f"the validation part is used as: {use['val']}"] if "val" in parts else []
    record = _record(parts, form, [each for part in results.values() for each in part])
    return RawDataset(
        joined["train"],
        joined.get("test"),
        class_names,
        reading={**record, "notes": notes},
        boxes=boxes["train"],
    )


def channels_first(images: NDArray[Any], where: str, layout: Layout = "auto") -> Images:
    """uint8 images (n, h, w), (n, h, w, c) or (n, c, h, w) as (n, c, h, w) with 1 or 3 channels."""
    if images.dtype != np.uint8:
        raise DataError(
            where,
            f"expected images of type uint8 with values from 0 to 255, found {images.dtype}",
            "convert them, or set data.scale if they are floating-point numbers",
        )
    shape = images.shape
    if images.ndim == 3:
        return images[:, None]
    last, first = (images.ndim == 4 and shape[at] in CHANNELS for at in (3, 1))
    if last and layout != "nchw" and not (first and layout == "auto"):
        return np.moveaxis(images, 3, 1)
    if first and layout != "nhwc" and not (last and layout == "auto"):
        return images
    raise DataError(
        where,
        "expected images of shape (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 or 3 channels c, "
        f"found {shape}",
        "convert them, or set data.layout to nhwc or nchw if both are possible",
    )


def flat_labels(part: Part, where: str) -> NDArray[Any] | None:
    """Labels (n,) of integers or text, from (n,), (n, 1) or one-hot (n, k); None: unlabeled."""
    labels = part.labels
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()
        if not one_hot:
            raise DataError(
                where,
                f"expected one label per image, found labels of shape {labels.shape} with several "
                "classes per image (multi-label)",
                "choose one column as the label, or another dataset",
            )
        labels = labels.argmax(1)
    if labels.dtype.kind == "f" and (labels == np.round(labels)).all():
        labels = labels.astype(np.int64)
    if labels.ndim != 1 or labels.dtype.kind not in "biuSU":
        raise DataError(
            where,
            "expected labels of shape (n,), integers or text, found "
            f"{labels.dtype} of shape {labels.shape}",
            "convert them",
        )
    if len(labels) != len(part.images):
        raise DataError(
            where,
            f"expected {len(part.images)} labels, one per image, found {len(labels)}",
            "use labels of the same set",
        )
    if labels.dtype.kind == "S":
        return np.array([value.decode("utf-8", "replace") for value in labels.tolist()])
    return labels if labels.dtype.kind == "U" else labels.astype(np.int64)


def _numbered(
    labels: Mapping[str, NDArray[Any] | None], sizes: Mapping[str, int], form: Form
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Labels from 0 up, -1 for unlabeled, of every part, and the class names."""
    found = [values for values in labels.values() if values is not None]
    if not found:
        raise DataError(form.where, "expected labels, found none", "add the labels")
    values = np.unique(np.concatenate(found))
    if values.dtype.kind == "i":
        values = values[values != UNLABELED]
        if (
            form.class_names
            and len(values)
            and 0 <= values[0] <= values[-1] < len(form.class_names)
        ):
            values = np.arange(len(form.class_names))
    names = tuple(form.class_names or map(str, values.tolist()))
    if len(names) != len(values) or len(set(names)) < len(names):
        raise DataError(
            form.where,
            f"expected {len(values)} different class names, one for each of "
            f"{', '.join(map(str, values.tolist()[:10]))}, found {', '.join(names[:10])}",
            "correct data.class_names",
        )
    numbers = {}
    for name, part in labels.items():
        if part is None:
            numbers[name] = np.full(sizes[name], UNLABELED)
            continue
        numbers[name] = np.searchsorted(values, part).astype(np.int64)
        if part.dtype.kind == "i":
            numbers[name][part == UNLABELED] = UNLABELED
    return numbers, names


def _record(parts: Mapping[str, Part], form: Form, results: Sequence[Resized]) -> dict[str, Any]:
    """The JSON record of what was read."""
    shapes = [channels_first(part.images, form.where, form.layout).shape for part in parts.values()]
    sizes = sorted({shape[2:] for shape in shapes})
    modes: dict[str, int] = {}
    for shape in shapes:
        mode = "RGB" if shape[1] == 3 else "L"
        modes[mode] = modes.get(mode, 0) + shape[0]
    return {
        "num_images": sum(modes.values()),
        "modes": modes,
        "smallest": list(sizes[0]),
        "largest": list(sizes[-1]),
        "num_sizes": len(sizes),
        "resize": cost(form.resize, results),
    }
