"""The registry of datasets: one file and one line per dataset.

A dataset is a function from `DataParams` and the project's folder to `RawDataset`. It reads or
downloads images; it does not split, shuffle or scale them.
"""

from pipeline.data.datasets import digits, mnist, mnist5k, toy
from pipeline.data.datasets.base import Source

DATASETS: dict[str, Source] = {
    "digits": digits.load,
    "mnist": mnist.load,
    "mnist5k": mnist5k.load,
    "toy": toy.load,
}
