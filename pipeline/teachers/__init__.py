"""Who labels the unlabeled images: one file per family, one line here; no logic.

What is in this file is in no trial's fingerprint.
"""

from pipeline.teachers.base import Teacher
from pipeline.teachers.graph import GraphTeacher

TEACHERS: dict[str, type[Teacher]] = {
    "graph": GraphTeacher,
}
