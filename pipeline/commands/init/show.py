"""Prints the description of a dataset: a table of classes, then one line per finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.commands.init.describe import MAX_COMPARED, SEQUENCE, TWIN, Description
from pipeline.report.names import in_sentence, readable

MOST = 5  # names in a line


def show(description: Description, path: str, layout: str) -> None:
    """Print the table and the lines; plain text outside a terminal."""
    console = Console(highlight=False, soft_wrap=True)
    # Names are `Text`, so that rich does not interpret markup in them.
    console.print(Text(f"{readable(path)}: {layout}"))
    console.print(class_table(description, is_plain=not console.is_terminal))
    for label, line in lines(description):
        console.print(Text.assemble((f"{label}: ", "bold"), line))


def class_table(description: Description, *, is_plain: bool) -> Table:
    """Different images of every class, outside the test set and in it."""
    tests = description.test_counts
    table = Table(box=None if is_plain else Table().box, pad_edge=not is_plain)
    table.add_column("class")
    table.add_column("images" if tests is None else "training images", justify="right")
    if tests is not None:
        table.add_column("test images", justify="right")
    for label, name in enumerate(description.raw.class_names):
        numbers = [part[label] for part in (description.counts, tests) if part is not None]
        table.add_row(Text(readable(name)), *map(str, numbers))
    return table


def lines(description: Description) -> Iterator[tuple[str, str]]:
    """Everything else as pairs of a label and a sentence."""
    reading = description.raw.reading
    channels, height, width = description.shape
    kind = "gray" if channels == 1 else "RGB"
    yield "images", f"{kind}, {width} x {height} pixels for all models"
    yield from _files(reading)
    if description.num_unlabeled:
        yield "unlabeled", f"{description.num_unlabeled} images; the arm pseudo_label uses them"
    yield "background", _background(description)
    yield from _copies(description)
    yield from _twins(description)


def _files(reading: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Sizes and modes of the files, what was converted, resized and skipped."""
    if modes := reading.get("modes"):
        yield "modes", _counted(modes)
    if reading.get("num_sizes"):
        small, large = reading["smallest"], reading["largest"]
        size = f"{small[1]} x {small[0]}"
        several = reading["num_sizes"] > 1
        yield (
            "sizes",
            f"{reading['num_sizes']} sizes, from {size} to {large[1]} x {large[0]} pixels"
            if several
            else f"all {size} pixels",
        )
    if resize := reading.get("resize"):
        height, width = resize["size"]
        cost = f"to {width} x {height} by {resize['policy']}"
        if resize["policy"] == "crop":
            cost += (
                f"; {resize['num_cropped_much']} images lose more than 20 % of their area, "
                f"{100 * resize['mean_lost_area']:.0f} % on average"
            )
        if resize["num_enlarged"]:
            cost += f"; {resize['num_enlarged']} images are enlarged"
        yield "resized", cost
    if converted := reading.get("converted"):
        yield "converted", _counted(converted)
    for reason, count in reading.get("skipped", {}).items():
        examples = reading.get("skipped_examples", {}).get(reason, [])[:MOST]
        names = ", ".join(map(in_sentence, examples))
        yield "skipped", f"{count} {reason} ({names}{', ...' if count > len(examples) else ''})"
    for note in reading.get("notes", []):
        yield "note", readable(note)


def _background(description: Description) -> str:
    levels = description.background
    if levels is None:
        return "none: most borders have no common color, as in photos"
    word = {0: " (black)", 255: " (white)"}.get(levels[0], "") if len(levels) == 1 else ""
    return f"{', '.join(map(str, levels))}{word}"


def _copies(description: Description) -> Iterator[tuple[str, str]]:
    """Exact copies and conflicting labels."""
    found, names = description.duplicates, description.raw.class_names
    if found.within_class:
        yield "duplicates", f"{found.within_class} exact copies within a class; one of each is kept"
    if found.from_train:
        yield "duplicates", f"{found.from_train} training images are in the test set; dropped"
    if found.num_across_classes:
        some = _conflicts(found.across_classes, names, " and")
        yield (
            "conflicting labels",
            f"{found.num_across_classes} images are in several classes and are dropped: {some}",
        )
    if found.across_parts:
        some = _conflicts(found.across_parts, names, ", there")
        yield (
            "conflicting labels",
            f"{len(found.across_parts)} training images have another label in the test set: {some}",
        )
    if not (found.within_class or found.from_train or found.num_across_classes):
        yield "duplicates", "none"


def _conflicts(found: Sequence[tuple[str, int, int]], names: Sequence[str], link: str) -> str:
    """The first images with two labels: `a.png is cat and dog`."""
    return "; ".join(
        f"{in_sentence(path)} is {in_sentence(names[one])}{link} {in_sentence(names[other])}"
        for path, one, other in found[:MOST]
    )


def _twins(description: Description) -> Iterator[tuple[str, str]]:
    """Images that are nearly the same."""
    twins = description.twins
    if not twins.is_known:
        yield "near twins", f"not searched for, since there are more than {MAX_COMPARED:,} images"
    elif not twins.num_images:
        yield "near twins", "none"
    else:
        raw = description.raw
        paths = (*raw.origins.paths, *raw.test_origins.paths)
        one, other = twins.pairs[0]
        pair = (
            f", such as {in_sentence(paths[one])} and {in_sentence(paths[other])}" if paths else ""
        )
        share = 100 * description.twin_share
        yield (
            "near twins",
            f"{twins.num_images} images ({share:.1f} %) are nearly like another (correlation of at "
            f"least {TWIN}){pair}{_across(twins.num_across)}",
        )


def _across(count: int) -> str:
    return f"; {count} training images have a near twin in the test set" if count else ""


def show_sequences(description: Description, misfit: str | None) -> None:
    """Print the names that look like recordings; `misfit` says why they cannot be groups, if so."""
    found = description.sequences
    if not found:
        return
    some = ", ".join(map(in_sentence, found[:MOST]))
    more = ", ..." if len(found) > MOST else ""
    advice = (
        f"if each is one recording, add --group-name '{SEQUENCE}'"
        if misfit is None
        else f"the splits do not allow them as groups: {readable(misfit)}"
    )
    sentence = f"file names have {len(found)} numbered beginnings ({some}{more}); {advice}"
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble(("sequences: ", "bold"), sentence))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
