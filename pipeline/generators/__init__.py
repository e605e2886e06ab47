"""Where synthetic images come from: one file per family, one line here."""

import torch

from pipeline.generators.base import Generator
from pipeline.generators.dcgan import DCGAN
from pipeline.images import ImageSpec
from pipeline.params import Member, member_config

GENERATORS: dict[str, type[Generator]] = {
    "dcgan": DCGAN,
}


def build_generator(
    name: str, sections: dict[str, Member], spec: ImageSpec, seed: int
) -> Generator:
    """An untrained generator with its section of params.yaml, checked; `seed` sets its weights."""
    family = GENERATORS[name]
    config = member_config(family.Config, sections[name], f"generators.{name}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family(config, spec)
