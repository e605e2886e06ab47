"""The registry of classifier families: one file and one line per family, no logic.

This file is part of no trial's fingerprint.
"""

from pipeline.classifiers.base import Classifier
from pipeline.classifiers.cnn import CNN
from pipeline.classifiers.cnn_textbook import CNNTextbook
from pipeline.classifiers.discriminator_cnn import DiscriminatorCNN
from pipeline.classifiers.lgbm import LightGBM
from pipeline.classifiers.sklearn import Sklearn

CLASSIFIERS: dict[str, type[Classifier]] = {
    "cnn": CNN,
    "cnn_textbook": CNNTextbook,
    "discriminator_cnn": DiscriminatorCNN,
    "lgbm": LightGBM,
    "sklearn": Sklearn,
}
