"""Edits of parsed settings in memory, shared by the tests of this folder."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pipeline.config.schema import Params
from pipeline.config.validation import FILE, validate
from pipeline.runtime.errors import ParamsError

Values = dict[str, Any]
SEMI = {
    "teachers": {"graph": {"family": "label_propagation"}},
    "generators": {"ss_dcgan": {"family": "dcgan", "inputs": "models/graph"}},
    "arms": {
        "pseudo": {"kind": "pseudo", "inputs": "models/graph", "per_class": 6},
        "ss_dcgan": {"kind": "synthetic", "inputs": "data/synthetic/ss_dcgan", "per_class": 6},
        "smote": {"kind": "smote", "inputs": "data/splits/subsets", "per_class": 6},
        "teacher": {"kind": "teacher", "inputs": "models/graph"},
        "supervised": {"kind": "teacher", "inputs": "models/supervised"},
        "warm": {"kind": "warm_start", "inputs": "models/dcgan", "per_class": 0},
    },
}


def written_out(study: Params) -> Values:
    """A copy of the study with every key written out."""
    return copy.deepcopy(study.model_dump())


def with_unlabeled(study: Params) -> Values:
    """The same with unlabeled images: a teacher, a generator of its labels, an arm of each kind."""
    values = written_out(study)
    for key, members in copy.deepcopy(SEMI).items():
        values[key].update(members)
    return values


def read(values: Values) -> Params:
    """The validated params."""
    return validate(Params, values, FILE)


def refused(values: Values) -> str:
    """The sentence that refuses `values`."""
    with pytest.raises(ParamsError) as error:
        read(values)
    assert "\n" not in str(error.value)
    return str(error.value)


def changed(values: Values, place: str, value: object) -> Values:
    """A copy of `values` with `value` at the dotted key `place`."""
    copied = section = copy.deepcopy(values)
    *above, last = place.split(".")
    for key in above:
        section = section[key]
    section[last] = value
    return copied
