"""The figures of one generator: samples, nearest labeled images, training, gallery.

They show the first replicate that finished, those of the primary budget first; a generator whose
replicates all failed has none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import pairwise_distances_argmin

from pipeline.config.schema import MODELS, SUBSETS, SYNTHETIC, Params
from pipeline.data.images import Images, LabeledImages, read_images
from pipeline.report import figures, sheets
from pipeline.report.captions import SHOWCASE_CAPTIONS
from pipeline.report.sheets import Subject
from pipeline.report.tables import finished, read_losses
from pipeline.runtime.files import read_npz, require
from pipeline.trials.grid import Replicate

SHEET_PER_CLASS = 8
GRID_SIDE = 20  # images; 400 show more variety than a row per class
SNAPSHOT_COLUMNS = 4  # images per class and snapshot: six snapshots side by side fit a page
SHOWCASE_COLUMNS = 10  # the contract of `.showcase.npz`


def plot_training(folder: Path, name: str, params: Params, root: Path, subject: Subject) -> None:
    """Plot losses, images over training and the showcase of one generator."""
    models, place = root / MODELS / name, folder / "gallery" / name
    for replicate in finished(models, params)[:1]:
        figures.save(figures.losses(read_losses(name, params, root)), folder / f"losses-{name}.png")
        panels = {}
        for key, images in read_npz(models / replicate.file(".snapshots.npz")).items():
            step = key.removeprefix("step_")
            panels[f"step {int(step)}"] = first_columns(images, subject.num_classes)
            figure = rows_of_classes({f"{name}, {key}": images}, SHEET_PER_CLASS, subject)
            figures.save(figure, folder / "samples" / name / f"{step}.png")
        figure = rows_of_classes(panels, SNAPSHOT_COLUMNS, subject)
        figures.save(figure, place / "over_training.png")
        for key, images in read_showcase(models, replicate).items():
            panel = {f"{name}, {key}": images}
            figure = sheets.sheets(panel, SHOWCASE_COLUMNS, None, subject.background)
            figures.save(figure, place / f"{key}.png")


def plot_samples(
    folder: Path, name: str, params: Params, root: Path, subject: Subject
) -> dict[str, Images]:
    """Plot a grid of one generator's samples and their nearest labeled images; returns its sheet.

    The sheet is by the generator's name; empty where every replicate failed.
    """
    for replicate in finished(root / SYNTHETIC / name, params)[:1]:
        data = read_images(root / SYNTHETIC / name / replicate.file(".npz"))
        cells = {name: grid(data, subject.num_classes, subject.paper(data.images))}
        figure = sheets.sheets(cells, GRID_SIDE, None, subject.background)
        figures.save(figure, folder / "gallery" / name / "sheet.png")
        synthetic = sheet(data, subject)
        subset = read_images(root / SUBSETS / replicate.file(".npz"))
        pairs = {name: synthetic, "nearest labeled image": nearest(synthetic, subset.images)}
        figure = rows_of_classes(pairs, SHEET_PER_CLASS, subject)
        figures.save(figure, folder / f"nearest-{name}.png")
        return {name: synthetic}
    return {}


def rows_of_classes(panels: dict[str, Images], columns: int, subject: Subject) -> Figure:
    """Image sheets side by side in which row k is class k."""
    return sheets.sheets(panels, columns, subject.class_names, subject.background)


def sheet(data: LabeledImages, subject: Subject) -> Images:
    """The first images of every class, a row per class; a class with fewer starts over.

    The row of a class without an image is blank.
    """
    shape = (subject.num_classes, SHEET_PER_CLASS, *data.images.shape[1:])
    rows = np.full(shape, subject.paper(data.images), dtype=np.uint8)
    for label in np.unique(data.labels):
        rows[label] = data.images[np.resize(np.flatnonzero(data.labels == label), SHEET_PER_CLASS)]
    return rows.reshape(-1, *data.images.shape[1:])


def nearest(images: Images, references: Images) -> Images:
    """For each image the reference with the least squared pixel difference."""
    flat, other = (part.reshape(len(part), -1).astype(np.float32) for part in (images, references))
    return references[pairwise_distances_argmin(flat, other)]


def grid(data: LabeledImages, num_classes: int, paper: int = 0) -> Images:
    """Equal runs of every class, (400, c, h, w); `paper` where a class has fewer images."""
    per_class = GRID_SIDE**2 // num_classes
    cells = np.full((GRID_SIDE**2, *data.images.shape[1:]), paper, dtype=np.uint8)
    for label in range(num_classes):
        run = data.images[data.labels == label][:per_class]
        cells[label * per_class : label * per_class + len(run)] = run
    return cells


def first_columns(images: Images, num_classes: int) -> Images:
    """The first four of each class's run of images, (num_classes * 4, c, h, w)."""
    runs = images.reshape(num_classes, -1, *images.shape[1:])
    return runs[:, :SNAPSHOT_COLUMNS].reshape(-1, *images.shape[1:])


def read_showcase(models: Path, replicate: Replicate) -> dict[str, Images]:
    """The showcase of a replicate's generator, ten images per row, (10 * rows, c, h, w) by key."""
    return read_npz(require(models / replicate.file(".showcase.npz"), "train_generator"))


def files(reports: Path, name: str) -> dict[str, Path]:
    """The figures of a generator's gallery by key: those with a caption in its order, the rest."""
    pictures = {
        path.stem: path for path in sorted((reports / "plots/gallery" / name).glob("*.png"))
    }
    captioned = [key for key in SHOWCASE_CAPTIONS if key in pictures]
    return {key: pictures[key] for key in dict.fromkeys([*captioned, *pictures])}
