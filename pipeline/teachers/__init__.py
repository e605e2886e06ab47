"""Who labels the unlabeled images: one file per family, one line here; no logic.

What is in this file is in no trial's fingerprint.
"""

from pipeline.teachers.base import Teacher
from pipeline.teachers.label_propagation import GraphTeacher
from pipeline.teachers.ssgan import KPlusOne

TEACHERS: dict[str, type[Teacher]] = {
    "graph": GraphTeacher,
    "kplus1": KPlusOne,
}
