"""The registry of teacher families: one file and one line per family, no logic.

This file is part of no trial's fingerprint.
"""

from pipeline.teachers.automatic import Automatic
from pipeline.teachers.base import Teacher
from pipeline.teachers.fixmatch import FixMatch
from pipeline.teachers.label_propagation import LabelPropagation
from pipeline.teachers.ssgan import SSGAN
from pipeline.teachers.supervised import Supervised

TEACHERS: dict[str, type[Teacher]] = {
    "supervised": Supervised,
    "label_propagation": LabelPropagation,
    "fixmatch": FixMatch,
    "automatic": Automatic,
    "ssgan": SSGAN,
}
