"""Features of tables, and scikit-learn's estimators on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.classifiers.base import TrainingSet, plain
from pipeline.classifiers.estimators import class_scores, estimators
from pipeline.classifiers.lgbm import LightGBM, LightGBMConfig
from pipeline.classifiers.scaling import Scaler
from pipeline.classifiers.sklearn import Sklearn, SklearnConfig
from pipeline.classifiers.table_features import TABLE_FEATURES, colors, hog, table_rows
from pipeline.config.schema import ClassifierParams
from pipeline.config.validation import member_config
from pipeline.data.images import ImageSpec, LabeledImages
from pipeline.nn.weights import read_weights, write_weights
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import ParamsError

SHAPES = [(1, 8, 8), (3, 8, 12), (1, 28, 28), (3, 64, 40)]
ESTIMATORS = ["LogisticRegression", "SVC", "KNeighborsClassifier", "LinearSVC", "GaussianNB"]
# They take no negative values, hence no scaled ones.
UNSCALED = {"ComplementNB", "MultinomialNB"}
# They take only levels or neighborhoods that they have seen, or more images than columns.
REFUSED = {"CategoricalNB", "QuadraticDiscriminantAnalysis", "RadiusNeighborsClassifier"}
# With the default, a narrow kernel, no image is near another one.
OTHER_SETTINGS: dict[str, dict[str, Any]] = {
    "LabelPropagation": {"kernel": "knn"},
    "LabelSpreading": {"kernel": "knn"},
}


def noise(shape: tuple[int, int, int], n: int = 6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)


def fit(estimator: str, data: LabeledImages | TrainingSet, **settings: Any) -> Sklearn:
    training_set = plain(data) if isinstance(data, LabeledImages) else data
    with deterministic():
        return Sklearn(SklearnConfig(estimator=estimator, **settings), 1).fit(training_set)


@pytest.fixture(scope="module")
def split(bars: LabeledImages) -> tuple[LabeledImages, LabeledImages]:
    order = np.random.default_rng(0).permutation(len(bars))
    return bars.take(order[:60]), bars.take(order[60:])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TABLE_FEATURES)
def test_features_are_finite_and_do_not_depend_on_other_images(
    name: str, shape: tuple[int, int, int]
) -> None:
    images = noise(shape)
    rows = table_rows(images, [name])[0]
    assert rows.dtype == np.float32
    assert len(rows) == len(images)
    assert np.isfinite(rows).all()
    assert len(np.unique(rows, axis=0)) == len(images)
    alone = table_rows(images[2:3], [name])[0]
    np.testing.assert_allclose(alone, rows[2:3], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TABLE_FEATURES)
def test_features_of_even_images_are_finite(name: str) -> None:
    for level in (0, 255):
        even = np.full((2, 3, 8, 8), level, dtype=np.uint8)
        assert np.isfinite(table_rows(even, [name])[0]).all()


def test_edges_are_those_of_the_negative_and_colors_are_shares() -> None:
    images = noise((1, 16, 16))
    np.testing.assert_allclose(hog(images), hog(255 - images), atol=1e-4)
    for shape in SHAPES:
        rows = colors(noise(shape))
        shares = rows[:, 2 * shape[0] * 16 :] ** 2
        assert shares.shape[1] == 64
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)


def test_the_color_of_a_photo_is_told_apart() -> None:
    images = np.zeros((40, 3, 8, 8), dtype=np.uint8)
    labels = np.arange(40) % 2
    for channel in (0, 1):
        images[labels == channel, channel] = noise((1, 8, 8), 20)[:, 0]
    classifier = fit("LogisticRegression", LabeledImages(images, labels), features=["color"])
    np.testing.assert_array_equal(classifier.predict_proba(images).argmax(axis=1), labels)


def test_kinds_of_features_stand_side_by_side(split: tuple[LabeledImages, LabeledImages]) -> None:
    names = [*TABLE_FEATURES]
    images = split[0].images
    widths = [table.shape[1] for table in table_rows(images, names)]
    classifier = LightGBM(LightGBMConfig(num_trees=5, features=names), 1)
    assert classifier.rows(images).shape == (len(images), sum(widths))
    with deterministic():
        predicted = classifier.fit(plain(split[0])).predict_proba(split[1].images)
    assert (predicted.argmax(axis=1) == split[1].labels).mean() > 0.6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": ["hogs"]}, "expected one of pixels, hog, color, found 'hogs'.*did you mean"),
        ({"features": ["hog", "hog"]}, "mine: features: expected different .*, found hog twice"),
        ({"features": []}, "features: "),
        ({"estimator": "LogisticRegresion"}, "did you mean LogisticRegression"),
        ({"estimator": "VotingClassifier"}, "expected one of .*, found 'VotingClassifier'"),
        ({"settings": {"c": 1.0}}, r"settings: expected one of .*, found 'c' \(did you mean C\?"),
        ({"settings": {"C": -1.0}}, r"mine: settings.C: .* in \(0.0, inf\], found -1.0\. Fix"),
        ({"settings": {"random_state": 1}}, "settings.random_state: .*pipeline sets it, found 1"),
        ({"settings": {"n_jobs": 2}}, "settings.n_jobs: .* the pipeline sets it, found 2"),
        ({"scaling": "all"}, "scaling: "),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], message: str) -> None:
    section = {"estimator": "LogisticRegression", **settings}
    with pytest.raises(ParamsError, match=message):
        member_config(SklearnConfig, section, "classifiers.mine")


def test_an_estimator_must_be_named() -> None:
    with pytest.raises(ParamsError, match="estimator is missing; add `estimator: LogisticReg"):
        member_config(SklearnConfig, {}, "classifiers.mine")


def test_a_member_may_have_a_key_called_settings() -> None:
    section = ClassifierParams.model_validate(
        {"family": "sklearn", "estimator": "SVC", "settings": {"C": 3.0}}
    )
    config = member_config(SklearnConfig, section.settings, "classifiers.svc")
    assert (config.estimator, config.settings) == ("SVC", {"C": 3.0})


def test_settings_that_only_a_fit_refuses_are_noticed_by_a_build() -> None:
    spec = ImageSpec(1, 8, 8, 3)
    Sklearn(SklearnConfig(estimator="MultinomialNB", scaling="none"), 0).build(spec)
    with pytest.raises(ParamsError, match="Negative values"):
        Sklearn(SklearnConfig(estimator="MultinomialNB"), 0).build(spec)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_named_estimator_learns_and_is_restored_to_the_bit(
    name: str, split: tuple[LabeledImages, LabeledImages], tmp_path: Any
) -> None:
    classifier = check_estimator(name, split, tmp_path / "weights")
    predicted = classifier.predict_proba(split[1].images)
    assert (predicted.argmax(axis=1) == split[1].labels).mean() > 0.6


@pytest.mark.proof
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_estimator_is_restored_to_the_bit_or_refuses_in_one_sentence(
    split: tuple[LabeledImages, LabeledImages], tmp_path: Any
) -> None:
    for name in estimators():
        if name in REFUSED:
            with pytest.raises(ParamsError, match=name):
                check_estimator(name, split, tmp_path / name)
        else:
            check_estimator(name, split, tmp_path / name)


def check_estimator(name: str, split: tuple[LabeledImages, LabeledImages], path: Any) -> Sklearn:
    """Fit on toy images, save, load and compare to the bit; the fitted classifier."""
    scaling = "none" if name in UNSCALED else "kind"
    classifier = fit(name, split[0], scaling=scaling, settings=OTHER_SETTINGS.get(name, {}))
    predicted = classifier.predict_proba(split[1].images)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)

    write_weights(path, classifier.state())
    with deterministic():
        loaded = Sklearn(classifier.config, 99).load(read_weights(path), split[0].spec())
    assert loaded.digest() == classifier.digest()
    assert loaded.predict_proba(split[1].images).tobytes() == predicted.tobytes()
    return classifier


def repeated(data: LabeledImages, times: int) -> TrainingSet:
    """The images once and `times` times more, half of the weight to the repetitions."""
    index = np.concatenate([np.arange(len(data)), np.repeat(np.arange(len(data)), times)])
    extra = np.arange(len(index)) >= len(data)
    weights = np.where(extra, 0.5 / (len(data) * times), 0.5 / len(data)) * len(index)
    return TrainingSet(data.take(index), extra, weights, data.num_classes)


@pytest.mark.parametrize("name", [*ESTIMATORS, "RandomForestClassifier"])
def test_repeating_the_labeled_subset_changes_nothing(
    name: str, split: tuple[LabeledImages, LabeledImages]
) -> None:
    images = split[1].images
    once, often = fit(name, split[0]), fit(name, repeated(split[0], 7))
    np.testing.assert_allclose(
        often.predict_proba(images), once.predict_proba(images), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["SVC", "LinearSVC", "RidgeClassifier"])
def test_scores_become_probabilities_with_the_same_first_class(
    name: str, classes: int, split: tuple[LabeledImages, LabeledImages]
) -> None:
    train, test = (part.take(part.labels < classes) for part in split)
    classifier = fit(name, train)
    predicted = classifier.predict_proba(test.images)
    rows = classifier.scaler(classifier.tables(test.images))
    scores = class_scores(classifier.estimator, rows)
    assert scores.shape == predicted.shape == (len(test), classes)
    np.testing.assert_array_equal(predicted.argmax(axis=1), scores.argmax(axis=1))
    assert classifier.temperature != 1.0


def test_the_temperature_does_not_see_added_images(
    split: tuple[LabeledImages, LabeledImages],
) -> None:
    data = split[0]
    first = np.unique(data.labels, return_index=True)[1]
    extra = ~np.isin(np.arange(len(data)), first)
    training_set = TrainingSet(data, extra, np.ones(len(data)), data.num_classes)
    assert fit("SVC", training_set).temperature == 1.0
    assert fit("SVC", data).temperature != 1.0


@pytest.mark.parametrize("scaling", ["kind", "column", "none"])
def test_scaling_leaves_no_kind_heavier_than_the_other(scaling: Any) -> None:
    rng = np.random.default_rng(0)
    tables = [
        rng.normal(7, 100, (50, 4)).astype(np.float32),
        np.concatenate([rng.normal(0, 0.1, (50, 8)), np.ones((50, 1))], axis=1, dtype=np.float32),
    ]
    rows = Scaler(tables, scaling)(tables)
    assert np.isfinite(rows).all()
    if scaling == "none":
        np.testing.assert_array_equal(rows, np.concatenate(tables, axis=1))
        return
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    variances = rows.var(axis=0)
    if scaling == "kind":
        np.testing.assert_allclose([variances[:4].mean(), variances[4:].mean()], 1, rtol=1e-5)
    else:
        np.testing.assert_allclose(variances[:-1], 1, rtol=1e-5)
