"""Where labeled images come from: one file per source, one line here.

A source is a function from `DataParams` and the project's root to `RawDataset`. Sources read or
download; they never split, shuffle or scale.
"""

from pipeline.data.datasets import digits, mnist, mnist5k, toy
from pipeline.data.datasets.base import Source

DATASETS: dict[str, Source] = {
    "digits": digits.load,
    "mnist": mnist.load,
    "mnist5k": mnist5k.load,
    "toy": toy.load,
}
