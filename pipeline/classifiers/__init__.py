"""What the training sets are judged by: one file per classifier, one line here; no logic.

What is in this file is in no trial's fingerprint.
"""

from pipeline.classifiers.base import Classifier
from pipeline.classifiers.cnn import CNN
from pipeline.classifiers.cnn_textbook import CNNTextbook
from pipeline.classifiers.discriminator_cnn import DiscriminatorCNN
from pipeline.classifiers.lgbm import LightGBM

CLASSIFIERS: dict[str, type[Classifier]] = {
    "cnn": CNN,
    "cnn_textbook": CNNTextbook,
    "critic": DiscriminatorCNN,
    "lgbm": LightGBM,
}
