"""Where synthetic images come from: one file per family, one line here; no logic.

What is in this file is in no trial's fingerprint.
"""

from pipeline.generators.base import Generator
from pipeline.generators.dcgan import DCGAN

GENERATORS: dict[str, type[Generator]] = {
    "dcgan": DCGAN,
}
