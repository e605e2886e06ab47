"""Two figures: a contact sheet with one row per class, and near twins side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.commands.init.describe import Description
from pipeline.data.images import UNLABELED, Images
from pipeline.report import figures
from pipeline.report.sheets import sheets

CONTACT_SHEET, TWIN_SHEET = Path("data/contact_sheet.png"), Path("data/near_twins.png")
COLUMNS = 10  # images per class
MAX_PAIRS = 20


def write_contact_sheet(description: Description, root: Path) -> Path:
    """A row per class: its first, last and further images at equal steps; empty where it has fewer.

    Reads `COLUMNS` images of every class.
    """
    data, names = description.raw.images, description.raw.class_names
    labels = np.where(description.kept, data.labels, UNLABELED)
    rows = []
    for label in range(len(names)):
        of_class = np.flatnonzero(labels == label)
        steps = np.linspace(0, len(of_class) - 1, min(COLUMNS, len(of_class))).round().astype(int)
        chosen = np.asarray(data.images[of_class[steps]])
        rows += [chosen, _empty(COLUMNS - len(chosen), description)]
    panels = {"": np.concatenate(rows)}
    figure = sheets(panels, COLUMNS, list(names), description.background)
    figures.save(figure, root / CONTACT_SHEET)
    return root / CONTACT_SHEET


def write_twin_sheet(description: Description, root: Path) -> Path:
    """The closest pairs of near twins, two images to a row and five pairs across."""
    pairs = description.twins.pairs[:MAX_PAIRS]
    images = description.images_at(pairs.reshape(-1))
    missing = _empty(-len(images) % COLUMNS, description)
    figure = sheets({"": np.concatenate([images, missing])}, COLUMNS, None, description.background)
    figures.save(figure, root / TWIN_SHEET)
    return root / TWIN_SHEET


def _empty(count: int, description: Description) -> Images:
    """Cells in the color of the background, white for photos."""
    levels = np.array(description.background or (255,), dtype=np.uint8)
    shape = (count, *description.shape)
    return np.broadcast_to(levels[None, :, None, None], shape).astype(np.uint8)
