"""The registry of datasets: one file and one line per dataset."""

from pathlib import Path

from pipeline.config.schema import DataParams
from pipeline.config.validation import FILE, member_config, refuse_unknown
from pipeline.data.datasets.base import Dataset, RawDataset
from pipeline.data.datasets.digits import Digits
from pipeline.data.datasets.idx import Idx
from pipeline.data.datasets.image_folder import ImageFolder
from pipeline.data.datasets.mnist import Mnist
from pipeline.data.datasets.mnist5k import Mnist5k
from pipeline.data.datasets.npz import Npz
from pipeline.data.datasets.table import Table
from pipeline.data.datasets.torchvision import Torchvision
from pipeline.data.datasets.toy import Toy

DATASETS: dict[str, type[Dataset]] = {
    "digits": Digits,
    "image_folder": ImageFolder,
    "idx": Idx,
    "mnist": Mnist,
    "mnist5k": Mnist5k,
    "npz": Npz,
    "table": Table,
    "torchvision": Torchvision,
    "toy": Toy,
}


def open_dataset(params: DataParams, root: Path) -> Dataset:
    """The dataset of params.yaml; raises `ParamsError` for an unknown name or wrong settings."""
    refuse_unknown(f"{FILE}: data.name", params.name, DATASETS)
    family = DATASETS[params.name]
    config = member_config(family.Config, params.settings, "data")
    levels = params.background
    given = tuple(levels) if isinstance(levels, list) else None
    return family(config, root, params.resize, given)


def load_dataset(params: DataParams, root: Path) -> RawDataset:
    """The images of the dataset of params.yaml; raises `DataError` as the dataset does."""
    return open_dataset(params, root).load()
