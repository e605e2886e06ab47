"""The part of the page about the dataset: what was read, converted, dropped and split, and how.

Pure functions over the manifest of `data/splits`. Keys that a manifest of an earlier version
lacks are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.report.columns import Column, Table, left, number
from pipeline.report.names import readable

Manifest = Mapping[str, Any]
CHANNELS = {1: "gray", 3: "RGB"}
POLICIES = {
    "crop": "cut at both ends of the longer side",
    "pad": "filled with a color, given or of the image's border, at both ends of the shorter side",
    "stretch": "stretched, which changes the aspect ratio",
}


def facts(manifest: Manifest) -> list[tuple[str, str]]:
    """The dataset in numbers, as rows of a title and a text."""
    rows = {
        "images": _images(manifest),
        "pool": _pool(manifest),
        "test set": _test(manifest),
        "class balance": _balance(manifest),
        "groups": _groups(manifest),
    }
    return [(title, text) for title, text in rows.items() if text]


def _images(manifest: Manifest) -> str:
    if "shape" not in manifest:
        return ""
    channels, height, width = manifest["shape"]
    parts = [
        f"{height} x {width} pixels (height x width)",
        CHANNELS.get(channels, f"{channels} channels"),
    ]
    if "background" in manifest:
        parts.append(background_name(manifest["background"]))
    return ", ".join(parts)


def background_name(levels: Sequence[int] | None) -> str:
    """A background in words: `black background`."""
    if levels is None:
        return "no background (photos)"
    if len(set(levels)) > 1:
        return f"background of color {tuple(levels)}"
    return f"{ {0: 'black', 255: 'white'}.get(levels[0], f'gray ({levels[0]} of 255)') } background"


def _pool(manifest: Manifest) -> str:
    pool = manifest["pool"]
    unlabeled = pool.get("num_unlabeled", 0)
    more = f", {unlabeled:,} of them without a label" if unlabeled else ""
    return f"{pool['num_images']:,} images{more}"


def _test(manifest: Manifest) -> str:
    if not manifest.get("per_seed"):
        return f"{manifest['test']['num_images']:,} images, the same for all seeds"
    least, most = (manifest.get("test_images", {}).get(end) for end in ("min", "max"))
    count = manifest["test"]["num_images"] if least is None else least
    size = f"{count:,}" if least == most else f"{least:,} to {most:,}"
    return f"{size} images, held out anew by every seed"


def _balance(manifest: Manifest) -> str:
    imbalance = manifest.get("imbalance", 1.0)
    if imbalance == "natural":
        return "labeled subsets have the class shares of the dataset"
    if imbalance == 1:
        return ""
    return f"labeled subsets have {imbalance:g} images of the largest class for one of the smallest"


def _groups(manifest: Manifest) -> str:
    groups = manifest.get("groups")
    if not groups:
        return ""
    rule = ", ".join(f"{key} {readable(value)}" for key, value in groups["rule"].items() if value)
    return (
        f"{groups['num_groups']:,} groups ({rule}), the largest of {groups['largest']:,} images; "
        "no group is on two sides of a split"
    )


def classes(manifest: Manifest) -> Table:
    """The classes with their numbers of images."""
    names = manifest["class_names"]
    budgets = manifest.get("labels_per_class", {}) if manifest.get("imbalance", 1.0) != 1 else {}
    counts = {
        "pool": manifest["pool"].get("per_class", ()),
        "test": manifest["test"].get("per_class", ()),
        **{f"labeled, budget {budget}": values for budget, values in budgets.items()},
    }
    counts = {title: values for title, values in counts.items() if len(values) == len(names)}
    rows = [
        {"number": f"#{label}", "class": readable(name)}
        | {title: values[label] for title, values in counts.items()}
        for label, name in enumerate(names)
    ]
    columns = [left("number", "number"), left("class", "class")]
    columns += [Column(title, title, number("%d")) for title in counts]
    return Table("Classes", columns, rows)


def notes(manifest: Manifest) -> list[str]:
    """How files were read, converted, resized and dropped, as sentences."""
    reading = manifest.get("reading") or {}
    return [*_read(reading), *_resized(reading), *_dropped(manifest)]


def _read(reading: Mapping[str, Any]) -> Iterator[str]:
    if "num_files" in reading:
        yield f"{_files(reading['num_files'])} read{_modes(reading)}."
    examples = reading.get("skipped_examples", {})
    for reason, count in (reading.get("skipped") or {}).items():
        shown = ", ".join(map(readable, examples.get(reason, ())))
        yield f"Skipped, {readable(reason)}: {_files(count)}{f' ({shown})' if shown else ''}."
    converted = {how: count for how, count in (reading.get("converted") or {}).items() if count}
    if converted:
        listed = ", ".join(f"{count:,} {readable(how)}" for how, count in converted.items())
        yield f"Converted: {listed}."
    yield from (readable(note) for note in reading.get("notes", ()))


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _modes(reading: Mapping[str, Any]) -> str:
    modes = [f"{count:,} {readable(mode)}" for mode, count in (reading.get("modes") or {}).items()]
    return f": {', '.join(modes)}" if modes else ""


def _resized(reading: Mapping[str, Any]) -> Iterator[str]:
    smallest, largest = reading.get("smallest"), reading.get("largest")
    if smallest and largest and (smallest != largest or reading.get("num_sizes", 1) > 1):
        ends = " to ".join(f"{height} x {width}" for height, width in (smallest, largest))
        sizes = f", {reading['num_sizes']:,} sizes" if "num_sizes" in reading else ""
        yield f"Sizes before resizing: {ends} pixels (height x width){sizes}."
    resize = reading.get("resize")
    if not resize:
        return
    height, width = resize["size"]
    how = POLICIES.get(resize["policy"], resize["policy"])
    yield f"Resized to {height} x {width} pixels ({resize['policy']}): {how}."
    if resize.get("mean_lost_area"):
        much = resize.get("num_cropped_much", 0)
        yield (
            f"This cut away {100 * resize['mean_lost_area']:.1f} % of the area of an image on "
            f"average, and more than 20 % of {much:,} image{'' if much == 1 else 's'}."
        )
    if resize.get("num_enlarged"):
        yield f"{resize['num_enlarged']:,} smaller than that were enlarged, which adds no detail."


def _dropped(manifest: Manifest) -> Iterator[str]:
    found = manifest.get("duplicates") or {}
    if count := found.get("within_class"):
        yield f"Exact copies within a class: {count:,} dropped, one of each kept."
    if count := found.get("from_train"):
        yield f"Images that are in the test set as well: {count:,} dropped from the pool."
    if count := found.get("num_across_parts"):
        yield (
            f"{count:,} of these {'has' if count == 1 else 'have'} another label in the test set, "
            "so at least one of the two is wrong; see the list below."
        )
    if count := (manifest.get("groups") or {}).get("num_in_test"):
        whose = " (of the first seed)" if manifest.get("per_seed") else ""
        yield f"Images of groups that are in the test set: {count:,} dropped from the pool{whose}."
    if count := found.get("num_across_classes"):
        yield (
            f"Equal images with different labels: all {count:,} dropped, since at least one of the "
            "labels is wrong; they are listed below."
        )


def conflicts(manifest: Manifest) -> Table:
    """Equal images with different labels: a path or content id, and two of the labels."""
    rows = [
        dict(zip(("image", "one", "other"), map(readable, listed), strict=False))
        for key in ("across_classes", "across_parts")
        for listed in (manifest.get("duplicates") or {}).get(key, ())
    ]
    columns = [left("image", "image"), left("label", "one"), left("other label", "other")]
    return Table("Equal images with different labels", columns, rows)
