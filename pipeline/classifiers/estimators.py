"""scikit-learn's classifiers by name, their settings, and the probabilities that they give.

Knows no image: rows and labels alone.
"""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from pipeline.classifiers.scaling import Table
from pipeline.config.validation import unknown_name
from pipeline.data.images import Labels
from pipeline.runtime.errors import ParamsError

# Set by the pipeline: the seed of the replicate, and one thread.
RESERVED = ("random_state", "n_jobs")


@functools.cache
def estimators() -> Mapping[str, type[Any]]:
    """Every classifier of scikit-learn that can be built from its name and plain values.

    Left out are those that wrap another estimator, and those that give neither probabilities nor
    scores.
    """
    from sklearn.utils import all_estimators  # imports the whole library

    return {
        name: family
        for name, family in all_estimators(type_filter="classifier")
        if not {"estimator", "estimators"} & set(inspect.signature(family).parameters)
        and (hasattr(family, "predict_proba") or hasattr(family, "decision_function"))
    }


def create_estimator(name: str, settings: Mapping[str, Any], seed: int) -> Any:
    """The unfitted estimator called `name`; `seed` is its `random_state`, if it has one.

    Raises `ValueError` for a name, a setting or a value that scikit-learn does not have.
    """
    for problem in unknown_name("estimator", name, estimators()):
        raise ValueError(problem)

    family = estimators()[name]
    known = inspect.signature(family).parameters
    for key in settings:
        if key in RESERVED:
            raise ValueError(
                f"settings.{key}: expected no value, since the pipeline sets it, found "
                f"{settings[key]!r}"
            )
        names = [known_key for known_key in known if known_key not in RESERVED]
        for problem in unknown_name("settings", key, names):
            raise ValueError(problem)

    seeded = {"random_state": seed % 2**31} if "random_state" in known else {}
    estimator = family(**settings, **seeded)
    try:
        estimator._validate_params()  # what `fit` does first
    except ValueError as error:
        raise ValueError(explained(str(error))) from None
    return estimator


def explained(message: str) -> str:
    """scikit-learn's sentence about a wrong value as one with the key, expected and found."""
    sentence = " ".join(message.split())
    pattern = r"The '(\w+)' parameter of \w+ must be (.*)\. Got (.*) instead\.?"
    match = re.fullmatch(pattern, sentence)
    if match is None:
        return f"settings: expected values that the estimator accepts, found {sentence[:200]!r}"
    key, expected, found = match.groups()
    return f"settings.{key}: expected {expected.replace(' in the range ', ' in ')}, found {found}"


def fit_estimator(estimator: Any, rows: Table, labels: Labels, weights: NDArray[Any]) -> None:
    """Fit on `rows` (n, d); `weights` (n,) are ignored if its `fit` has no `sample_weight`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.validation import has_fit_parameter

    weighted = has_fit_parameter(estimator, "sample_weight")
    with refusing(estimator), warnings.catch_warnings():
        # The number of iterations is a setting, as the steps of a network are.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # With one or two images per class the library warns that this may be a regression.
        warnings.filterwarnings("ignore", message="The number of unique classes")
        estimator.fit(rows, labels, **({"sample_weight": weights} if weighted else {}))


def has_probabilities(estimator: Any) -> bool:
    """Whether the estimator gives probabilities with these settings, not only scores."""
    return hasattr(estimator, "predict_proba")


def predict_estimator(estimator: Any, rows: Table, temperature: float) -> NDArray[np.float64]:
    """Probabilities (n, classes); of scores the softmax of score / `temperature`."""
    with refusing(estimator):
        if has_probabilities(estimator):
            return np.asarray(estimator.predict_proba(rows), dtype=np.float64)
        return softmax(class_scores(estimator, rows) / temperature, axis=1)


def class_scores(estimator: Any, rows: Table) -> NDArray[np.float64]:
    """Scores (n, classes) of `decision_function`; two classes have its value halved, -s and s."""
    scores = np.asarray(estimator.decision_function(rows), dtype=np.float64)
    return np.stack([-scores, scores], axis=1) / 2 if scores.ndim == 1 else scores


@contextmanager
def refusing(estimator: Any) -> Iterator[None]:
    """Turn what the estimator refuses inside the block into a `ParamsError`."""
    try:
        yield
    except (ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ParamsError(
            f"classifiers (sklearn, {type(estimator).__name__})",
            f"expected rows that the estimator accepts, found {reason!r}",
            "change its `settings` or `scaling`, or choose another `estimator`",
        ) from None
