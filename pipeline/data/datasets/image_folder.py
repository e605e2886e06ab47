"""Images in folders: the first folder is the class, or the part and then the class.

`<class>/**/image`, or `{train,val,test}/<class>/**/image` in any case, where all top folders are
parts; `unlabeled/` and images beside the folders are unlabeled. Sources: torchvision's ImageFolder,
Keras' image_dataset_from_directory, Hugging Face's imagefolder.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from typing_extensions import override

from pipeline.data.datasets.image_files import ImageFiles
from pipeline.data.reading.decoding import EXTENSIONS, is_image
from pipeline.data.reading.listing import PARTS, Example, Listing, arrange
from pipeline.data.reading.tree import File, Tree
from pipeline.runtime.errors import DataError

UNLABELED_FOLDER = "unlabeled"


class ImageFolder(ImageFiles):
    """A folder or zip with a folder per class."""

    @override
    def list_images(self) -> Listing:
        where = f"data.path {self.config.path}"
        images, others = image_files(self.tree)
        links = self.tree.skipped_links
        if not images:
            raise DataError(
                where,
                f"expected images in a folder per class, found {described(others)}{links}",
                "copy the files in place of the links (cp -rL)" if links else "correct data.path",
            )
        tree, files, notes = unwrapped(self.tree, images)
        if are_parts(where, files):
            examples, named, more = part_examples(tree, files)
        else:
            refuse_inner_parts(where, files)
            examples, named, more = class_examples(tree, files)
        listing = arrange(where, tree, examples, self.config.classes, self.config.val, named)
        return replace(
            listing,
            skipped={**others, **listing.skipped},
            notes=(*notes, *more, *listing.notes),
        )


def image_files(tree: Tree) -> tuple[list[File], dict[str, tuple[str, ...]]]:
    """The images of a tree, and the names of other files by their extension.

    A file of another extension is an image if it begins like one.
    """
    images: list[File] = []
    others: dict[str, list[str]] = defaultdict(list)
    for file in tree.files:
        if file.suffix in EXTENSIONS or is_image(tree.read(file, 32)):
            images.append(file)
        else:
            others[f"no image ({file.suffix or 'no extension'})"].append(file.name)
    return images, {reason: tuple(names) for reason, names in others.items()}


def described(others: dict[str, tuple[str, ...]]) -> str:
    """What a tree without images has instead, by extension."""
    counts = Counter({reason: len(names) for reason, names in others.items()})
    words = [
        f"{count} {reason.removeprefix('no image ').strip('()')}"
        for reason, count in counts.most_common(5)
    ]
    return f"only other files: {', '.join(words)}" if words else "no file at all"


def top(name: str) -> str:
    """The first folder of a path, empty for a file outside folders."""
    return name.partition("/")[0] if "/" in name else ""


def unwrapped(tree: Tree, files: Sequence[File]) -> tuple[Tree, list[File], list[str]]:
    """Without the folders that contain all images, which are not classes."""
    notes: list[str] = []
    kept = list(files)
    while True:
        tops = {top(file.name) for file in kept}
        name = min(tops)
        inner = {top(file.name.removeprefix(f"{name}/")) for file in kept}
        if len(tops) > 1 or not name or name.casefold() in PARTS or inner == {""}:
            return tree, kept, notes
        tree, wanted = tree.below(name), {file.path for file in kept}
        kept = [file for file in tree.files if file.path in wanted]
        notes.append(f"all images are inside the folder {name}/, which is no class")


def are_parts(where: str, files: Iterable[File]) -> bool:
    """Whether the top folders are parts of a dataset, such as train and test.

    Raises `DataError` when some are and some are not.
    """
    tops = {top(file.name) for file in files} - {""}
    tops = {name for name in tops if name.casefold() != UNLABELED_FOLDER}
    parts = {name for name in tops if name.casefold() in PARTS}
    if {PARTS[name.casefold()] for name in parts} > {"train"} and tops - parts:
        raise DataError(
            where,
            f"expected parts or classes at the top, found {', '.join(sorted(parts))} beside "
            f"{', '.join(sorted(tops - parts)[:5])}",
            "move the other folders away",
        )
    return bool(tops) and tops == parts


def refuse_inner_parts(where: str, files: Iterable[File]) -> None:
    """Raise `DataError` for `<class>/<part>/image`, which would mix the parts of every class."""
    inner = [PARTS.get(top(file.name.partition("/")[2]).casefold()) for file in files]
    if None not in inner and len(set(inner)) > 1:
        names = ", ".join(sorted(map(str, set(inner))))
        raise DataError(
            where,
            f"expected {{train,test}}/<class>, found the parts {names} inside the class folders",
            "put the parts at the top and the classes below them",
        )


def class_examples(
    tree: Tree, files: Sequence[File], part: str = "train"
) -> tuple[list[Example], set[str], list[str]]:
    """(examples, class folders, notes) of `<class>/**/image`."""
    examples = []
    for file in files:
        name = top(file.name)
        is_class = name and name.casefold() != UNLABELED_FOLDER
        examples.append(Example(file, name if is_class else None, part))
    named = {name for name in tree.folders if "/" not in name}
    named = {name for name in named if name.casefold() != UNLABELED_FOLDER}
    num_unlabeled = sum(each.class_name is None for each in examples)
    notes = [f"{num_unlabeled} images are in no class folder: unlabeled"] if num_unlabeled else []
    return examples, named, notes


def part_examples(tree: Tree, files: Sequence[File]) -> tuple[list[Example], set[str], list[str]]:
    """(examples, class folders, notes) of `<part>/<class>/**/image`."""
    examples: list[Example] = []
    named: set[str] = set()
    notes: list[str] = []
    for folder in dict.fromkeys(top(file.name) for file in files):
        if folder.casefold() not in PARTS:  # unlabeled/ or images outside folders
            examples += [Example(file, None) for file in files if top(file.name) == folder]
            continue
        within = tree.below(folder)
        original = {file.path: file for file in files}
        inner = [file for file in within.files if file.path in original]
        within, inner, more = unwrapped(within, inner)
        found, classes, words = class_examples(within, inner, PARTS[folder.casefold()])
        examples += [replace(each, file=original[each.file.path]) for each in found]
        named |= classes
        notes += [f"{folder}: {sentence}" for sentence in (*more, *words)]
    return examples, named, notes
