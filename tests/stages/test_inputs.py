"""With a test set per seed, every trial reads the files of its own seed."""

from __future__ import annotations

from importlib import import_module

import pytest

from pipeline.config.schema import HoldOutParams, Params
from pipeline.stages.__main__ import ITEMS
from pipeline.trials.layout import OUTPUTS

PARTS = ("pool", "labels", "test", "ids")


@pytest.mark.parametrize("per_seed", [True, False])
@pytest.mark.parametrize("stage", OUTPUTS)
def test_trials_read_the_split_of_their_own_seed(
    stage: str, per_seed: bool, tuned_study: Params
) -> None:
    test = HoldOutParams(frac=0.3, per_seed=per_seed)
    data = tuned_study.data.model_copy(update={"test_per_class": None, "test": test})
    params = tuned_study.model_copy(update={"data": data})
    module, section = import_module(f"pipeline.stages.{stage}"), ITEMS[stage]
    items = [(name,) for name in getattr(params, section)] if section else [()]
    plans = [plan for item in items for plan in module.plans(params, *item)]

    assert plans
    for plan in plans:
        for file in plan.inputs.values():
            own = f"seed-{plan.artifact.seed:02d}" if per_seed else "all"
            if file.path.parts[:2] == ("data", "splits") and file.path.parts[2] in PARTS:
                assert file.path.name == f"{own}.npz"
            if file.stage == "train_judge":
                assert file.path.name == f"{own if per_seed else 'judge'}.safetensors"
