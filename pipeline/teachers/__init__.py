"""Who labels the unlabeled images: one file per family, one line here; no logic.

What is in this file is in no trial's fingerprint.
"""

from pipeline.teachers.base import Teacher
from pipeline.teachers.label_propagation import LabelPropagation
from pipeline.teachers.ssgan import SSGAN

TEACHERS: dict[str, type[Teacher]] = {
    "graph": LabelPropagation,
    "kplus1": SSGAN,
}
