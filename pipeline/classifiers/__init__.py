"""What the training sets are judged by: one file per classifier, one line here."""

from pipeline.classifiers.base import Classifier
from pipeline.classifiers.cnn import CNN
from pipeline.classifiers.lgbm import LightGBM
from pipeline.params import Member, member_config

CLASSIFIERS: dict[str, type[Classifier]] = {
    "cnn": CNN,
    "lgbm": LightGBM,
}


def build_classifier(name: str, sections: dict[str, Member], seed: int) -> Classifier:
    """An unfitted classifier with its section of params.yaml, checked."""
    family = CLASSIFIERS[name]
    return family(member_config(family.Config, sections[name], f"classifiers.{name}"), seed)
