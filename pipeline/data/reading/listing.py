"""Which file belongs to which class and part, and the checks that hold for every layout."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.data.reading.tree import File, Tree, natural
from pipeline.runtime.errors import DataError

# Names of parts as Hugging Face, Keras, Roboflow, fastai and others write them, in any case.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
Val = Literal["auto", "train", "test", "ignore"]


@dataclass(frozen=True)
class Example:
    """A file with its class (None: unlabeled), its part of the dataset, its cells in a table."""

    file: File
    class_name: str | None
    part: str = "train"
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """The files of a dataset before anything is decoded.

    `class_names[label]`; `train` has the labeled images, then the unlabeled ones; `test` is empty
    if there is no test set. `columns` are the names of `Example.cells`. `skipped` are names of
    files by reason; `notes` are sentences on how the files were interpreted.
    """

    tree: Tree
    class_names: tuple[str, ...]
    train: tuple[Example, ...]
    test: tuple[Example, ...] = ()
    columns: tuple[str, ...] = ()
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def examples(self) -> tuple[Example, ...]:
        """All files that are decoded, in their order."""
        return self.train + self.test

    def labels(self, examples: Iterable[Example]) -> list[int]:
        """The labels of `examples`, -1 for unlabeled ones."""
        number = {name: label for label, name in enumerate(self.class_names)}
        return [-1 if each.class_name is None else number[each.class_name] for each in examples]


def arrange(
    where: str,
    tree: Tree,
    examples: Sequence[Example],
    classes: Sequence[str] | None = None,
    val: Val = "auto",
    named: Iterable[str] = (),
) -> Listing:
    """One class list in natural order for all parts, and the parts joined to train and test.

    `classes` picks and orders them; images of others are left out. `val` is the use of the
    validation part: auto is train, or test if there is no test part. `named` are further classes
    that must have an image. Raises `DataError` naming classes that are empty, only in one part, or
    differ only in case or Unicode normalization.
    """
    found = {each.class_name for each in examples if each.class_name is not None}
    names = _class_list(where, found | {*named}, classes, tree.skipped_links)
    notes, skipped = [], defaultdict(list)
    use = {"train": "train", "test": "test", "val": val}
    parts = Counter(each.part for each in examples if each.class_name is not None)
    if val == "auto":
        use["val"] = "train" if parts["test"] else "test"
    if parts["val"]:
        notes.append(f"the validation part ({parts['val']} images) is used as: {use['val']}")

    chosen: dict[str, list[Example]] = {"train": [], "test": [], "unlabeled": []}
    for each in examples:
        if each.class_name is not None and each.class_name not in names:
            skipped["of a class that data.classes leaves out"].append(each.file.name)
        elif each.class_name is None:
            chosen["unlabeled"].append(each)
        elif use[each.part] == "ignore":
            skipped["of the validation part"].append(each.file.name)
        else:
            chosen[use[each.part]].append(each)

    refuse_missing(where, names, (*chosen["train"], *chosen["test"]), chosen["test"])
    return Listing(
        tree,
        names,
        (*chosen["train"], *chosen["unlabeled"]),
        tuple(chosen["test"]),
        skipped={reason: tuple(files) for reason, files in skipped.items()},
        notes=tuple(notes),
    )


def _class_list(
    where: str, found: set[str], classes: Sequence[str] | None, links: str
) -> tuple[str, ...]:
    """The names of the classes in order; `links` are those that were not followed, for errors."""
    names = tuple(sorted(found, key=natural))
    if classes is not None:
        names = tuple(unicodedata.normalize("NFC", name) for name in classes)
        absent = [name for name in names if name not in found]
        if absent or len(set(names)) < len(names):
            problem = f"{absent[0]!r} of data.classes" if absent else "a class named twice"
            raise DataError(
                where,
                f"expected some of the classes {_listed(sorted(found, key=natural))}, "
                f"found {problem}",
                "correct data.classes",
            )
    twins = defaultdict(list)
    for name in names:
        twins[unicodedata.normalize("NFKC", name).casefold()].append(name)
    for same in twins.values():
        if len(same) > 1:
            raise DataError(
                where,
                f"expected class names that differ in more than case, found {_listed(same)}",
                "rename one, merge the two, or choose one with data.classes",
            )
    if len(names) < 2:
        raise DataError(
            where,
            f"expected at least two classes, found {_listed(names) or 'none'}{links}",
            "copy the files in place of the links (cp -rL)"
            if links
            else "put the images of every class into a folder of its own",
        )
    return names


def refuse_missing(
    where: str, names: Sequence[str], examples: Sequence[Example], test: Sequence[Example]
) -> None:
    """Raise `DataError` if a class has no image in train, or none in a test set that is there.

    `examples` are all images that are used; those that `test` has as well are the test set.
    """
    held = {each.file.path for each in test}
    parts = [[each for each in examples if (each.file.path in held) == side] for side in (0, 1)]
    counts = [Counter(each.class_name for each in part) for part in parts]
    for here, there, words in ((0, 1, "among the training images"), (1, 0, "in the test set")):
        absent = [name for name in names if not counts[here][name]]
        if not absent or (here == 1 and not test):
            continue
        elsewhere = sum(counts[there][name] for name in absent)
        place = "in the test set" if here == 0 else "among the training images"
        raise DataError(
            where,
            f"expected at least one image of every class {words}, found none of "
            f"{_listed(absent)}" + (f" ({elsewhere} {place})" if elsewhere else ""),
            "add images, or leave these classes out with data.classes",
        )


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
