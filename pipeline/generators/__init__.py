"""Where synthetic images come from: one file per family, one line in `standalone`; no logic.

What is in this file is in no trial's fingerprint.
"""

from pipeline.generators.base import Generator
from pipeline.generators.gan.srgan import SRGAN
from pipeline.generators.standalone import STANDALONE

GENERATORS: dict[str, type[Generator]] = {**STANDALONE, "srgan": SRGAN}
