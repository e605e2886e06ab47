"""What `prepare` leaves: draws nested across budgets, fresh labels apart, ids of what is there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from pipeline.config.schema import FRESH, SUBSETS, GroupParams, HoldOutParams, Params
from pipeline.data.datasets import DATASETS
from pipeline.data.datasets.base import BuiltIn, Origins, RawDataset
from pipeline.data.datasets.toy import CLASS_NAMES, Toy
from pipeline.data.images import LabeledImages, background_of, content_ids, digest, read_images
from pipeline.runtime.errors import ParamsError
from pipeline.runtime.files import file_digest, read_json, read_npz
from pipeline.stages import prepare
from pipeline.trials.grid import Replicate, curve_replicates, replicates
from pipeline.trials.layout import SPLITS


@pytest.fixture(scope="module")
def home(study: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `prepare` ran on the toy study: budgets 2 and 4, for the curve 8."""
    folder = tmp_path_factory.mktemp("my dátä (1)")
    prepare.run(study, folder)
    return folder


def changed(params: Params, section: str, **values: Any) -> Params:
    return params.model_copy(update={section: getattr(params, section).model_copy(update=values)})


def index(home: Path, folder: str, budget: int, seed: int) -> np.ndarray:
    return read_npz(home / folder / Replicate(budget, seed).file(".npz"))["index"]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_there_is_a_file_for_every_replicate_and_nothing_else(home: Path, study: Params) -> None:
    grids = {"subsets": curve_replicates(study.study), "fresh": replicates(study.study)}
    files = {
        f"{part}/{each.file('.npz').as_posix()}" for part, grid in grids.items() for each in grid
    }
    alone = {*(f"{part}/all.npz" for part in ("pool", "labels", "test", "ids")), "manifest.json"}
    assert set(contents(home / SPLITS)) == files | alone
    assert len(files) == (3 + 2) * 4


def test_the_ids_are_those_of_the_pool_and_the_test_set(home: Path) -> None:
    found = read_npz(home / SPLITS / "ids/all.npz")
    assert set(found) == {"pool", "test"}
    for part, ids in found.items():
        images = read_npz(home / SPLITS / f"{part}/all.npz")["images"]
        assert ids.tolist() == content_ids(images).tolist()
    assert not set(found["pool"]) & set(found["test"])


def test_the_manifest_knows_files_that_the_report_may_not_read_by_their_bytes(home: Path) -> None:
    found = read_json(home / SPLITS / "manifest.json")
    names = [SPLITS / part / "all.npz" for part in ("test", "pool", "labels")]
    assert found["files"] == {name.as_posix(): file_digest(home / name) for name in names}
    assert found["test"]["sha256"] == digest(read_images(home / SPLITS / "test/all.npz"))
    assert found["test"]["per_class"] == [20, 20, 20]
    assert found["pool"]["per_class"] == [40, 40, 40]
    assert (found["dataset"], found["shape"]) == ("toy", [1, 8, 8])
    assert found["class_names"] == list(CLASS_NAMES)


def test_the_pool_has_no_labels_beside_its_images(home: Path) -> None:
    assert set(read_npz(home / SPLITS / "pool/all.npz")) == {"images"}
    assert set(read_npz(home / SPLITS / "labels/all.npz")) == {"labels"}


@pytest.mark.parametrize("folder", [SUBSETS, FRESH])
def test_draws_and_fresh_labels_are_of_the_pool_in_equal_shares(
    folder: str, home: Path, study: Params
) -> None:
    pool = read_npz(home / SPLITS / "pool/all.npz")["images"]
    labels = read_npz(home / SPLITS / "labels/all.npz")["labels"]
    for each in replicates(study.study):
        found = read_npz(home / folder / each.file(".npz"))
        np.testing.assert_array_equal(found["images"], pool[found["index"]])
        np.testing.assert_array_equal(found["labels"], labels[found["index"]])
        np.testing.assert_array_equal(np.bincount(found["labels"]), [each.budget] * 3)
        assert len(set(found["index"])) == len(found["index"])


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_draws_are_nested_in_any_order_of_budgets(seed: int, home: Path) -> None:
    small, middle, large = (index(home, SUBSETS, budget, seed).tolist() for budget in (2, 4, 8))
    assert large[: len(middle)] == middle
    assert middle[: len(small)] == small


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("budget", [2, 4])
def test_fresh_labels_are_what_twice_the_budget_has_beyond_the_subset(
    budget: int, seed: int, home: Path
) -> None:
    own, fresh = (index(home, folder, budget, seed).tolist() for folder in (SUBSETS, FRESH))
    double = index(home, SUBSETS, 2 * budget, seed).tolist()
    assert not set(own) & set(fresh)
    assert own + fresh == double


def test_seeds_draw_different_images(home: Path) -> None:
    for folder in (SUBSETS, FRESH):
        found = {tuple(index(home, folder, 4, seed)) for seed in range(4)}
        assert len(found) == 4


def test_another_folder_gets_the_same_bytes(home: Path, study: Params, tmp_path: Path) -> None:
    prepare.run(study, tmp_path)
    assert contents(tmp_path / SPLITS) == contents(home / SPLITS)


def test_an_added_budget_or_seed_leaves_the_others_as_they_were(
    home: Path, study: Params, tmp_path: Path
) -> None:
    more = changed(study, "study", seeds=[7, *study.study.seeds], curve_budgets=[3, 8, 12])
    prepare.run(more, tmp_path)
    found, before = contents(tmp_path / SPLITS), contents(home / SPLITS)
    assert {name: found[name] for name in before} == before
    assert len(found) == len(before) + (5 * 5 - 3 * 4) + (2 * 5 - 2 * 4)


def test_a_budget_of_the_curve_gets_the_subset_it_would_have_in_the_grid(
    home: Path, study: Params, tmp_path: Path
) -> None:
    prepare.run(changed(study, "study", budgets=[2, 4, 8], curve_budgets=[]), tmp_path)
    before = contents(home / SPLITS)
    assert {name: contents(tmp_path / SPLITS)[name] for name in before} == before


@pytest.mark.parametrize(("budget", "left"), [(19, 19), (20, 20), (21, 19), (39, 1), (40, 0)])
def test_fresh_labels_end_where_the_pool_does(
    budget: int, left: int, study: Params, tmp_path: Path
) -> None:
    arms = {name: arm for name, arm in study.arms.items() if name != "fresh_real"}
    params = study.model_copy(update={"arms": arms})
    prepare.run(changed(params, "study", budgets=[budget], curve_budgets=[], seeds=[0]), tmp_path)
    fresh = read_images(tmp_path / FRESH / Replicate(budget, 0).file(".npz"))
    assert fresh.images.shape == (3 * left, 1, 8, 8)
    np.testing.assert_array_equal(np.bincount(fresh.labels, minlength=3), [left] * 3)


@pytest.mark.parametrize("budget", [21, 40])
def test_a_budget_that_leaves_too_few_fresh_labels_is_refused_at_once(
    budget: int, study: Params, tmp_path: Path
) -> None:
    with pytest.raises(ParamsError, match="twice, for arms with data/splits/fresh"):
        prepare.run(changed(study, "study", budgets=[2, budget], curve_budgets=[]), tmp_path)
    assert not contents(tmp_path)


@pytest.mark.parametrize(
    ("budgets", "curve"), [([41], []), ([2], [41]), ([2, 41], [4]), ([2], [4, 1000])]
)
def test_a_budget_beyond_the_pool_is_refused_before_anything_is_replaced(
    budgets: list[int], curve: list[int], home: Path, study: Params, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(home, tmp_path / "copy"))
    with pytest.raises(ParamsError, match=f"at most 40 .*found {max(budgets + curve)}"):
        prepare.run(changed(study, "study", budgets=budgets, curve_budgets=curve), folder)
    assert contents(folder) == contents(home)


def test_a_budget_of_the_curve_beyond_the_pool_is_refused_by_its_own_name(
    study: Params, tmp_path: Path
) -> None:
    with pytest.raises(ParamsError, match=r"study\.curve_budgets"):
        prepare.run(changed(study, "study", curve_budgets=[8, 41]), tmp_path)


def test_a_dataset_that_does_not_exist_is_refused_with_the_choices(
    study: Params, tmp_path: Path
) -> None:
    with pytest.raises(ParamsError, match="mnist5k") as refused:
        prepare.run(changed(study, "data", name="mnits"), tmp_path)
    assert "'mnits'" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def with_own_test(raw: RawDataset, shared: int) -> RawDataset:
    """The source with every third image as its own test set, `shared` of which it trains on."""
    own = np.arange(len(raw.images)) % 3 == 0
    test = raw.images.take(own)
    keep = ~own
    keep[np.flatnonzero(own)[:shared]] = True
    return replace(raw, images=raw.images.take(keep), test=test)


class WithOwnTest(Toy):
    """Toy images with a test set."""

    @override
    def load(self) -> RawDataset:
        return with_own_test(super().load(), 0)


class Leaking(Toy):
    """Toy images with a test set that shares two images with the others."""

    @override
    def load(self) -> RawDataset:
        return with_own_test(super().load(), 2)


def test_a_source_with_its_own_test_set_keeps_it(
    study: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "toy", WithOwnTest)
    prepare.run(study, tmp_path)
    expected: LabeledImages | None = WithOwnTest(BuiltIn(), tmp_path).load().test
    assert expected is not None
    ids = read_npz(tmp_path / SPLITS / "ids/all.npz")
    assert sorted(ids["test"]) == sorted(content_ids(expected.images))
    assert len(ids["pool"]) == 120


def test_images_of_a_test_set_of_its_own_are_dropped_from_the_others(
    study: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "toy", Leaking)
    prepare.run(study, tmp_path)
    assert read_json(tmp_path / SPLITS / "manifest.json")["duplicates"]["from_train"] == 2
    ids = read_npz(tmp_path / SPLITS / "ids/all.npz")
    assert (len(ids["pool"]), len(ids["test"])) == (120, 60)
    assert not set(ids["pool"]) & set(ids["test"])


def per_seed(params: Params, **data: Any) -> Params:
    test = HoldOutParams(frac=0.3, per_seed=True)
    return changed(params, "data", test_per_class=None, test=test, **data)


def test_every_seed_has_a_split_of_its_own(study: Params, tmp_path: Path) -> None:
    prepare.run(per_seed(study), tmp_path)
    tests, everything = [], []
    for seed in study.study.seeds:
        ids = read_npz(tmp_path / SPLITS / f"ids/seed-{seed:02d}.npz")
        assert not set(ids["pool"]) & set(ids["test"])
        everything.append({*ids["pool"], *ids["test"]})
        tests.append(set(ids["test"]))
        for part in ("pool", "test"):
            images = read_npz(tmp_path / SPLITS / f"{part}/seed-{seed:02d}.npz")["images"]
            assert ids[part].tolist() == content_ids(images).tolist()
        for folder in (SUBSETS, FRESH):
            found = read_images(tmp_path / folder / Replicate(4, seed).file(".npz"))
            assert not set(content_ids(found.images)) & set(ids["test"])
    assert everything[0] == everything[1] == everything[2]
    assert len({frozenset(each) for each in tests}) == 4
    assert tests[0] & tests[1]
    record = read_json(tmp_path / SPLITS / "manifest.json")
    assert record["per_seed"]
    assert record["test_images"] == {"min": 54, "max": 54}
    assert len(record["files"]) == 3 * 4


def test_an_added_seed_leaves_the_splits_of_the_others_as_they_were(
    study: Params, tmp_path: Path
) -> None:
    few, more = tmp_path / "few", tmp_path / "more"
    params = per_seed(study)
    prepare.run(changed(params, "study", seeds=[0, 1]), few)
    prepare.run(changed(params, "study", seeds=[5, 1, 0]), more)
    found, before = contents(more / SPLITS), contents(few / SPLITS)
    del before["manifest.json"]
    assert {name: found[name] for name in before} == before


def test_a_long_tail_is_in_subsets_and_fresh_labels(study: Params, tmp_path: Path) -> None:
    prepare.run(changed(study, "data", imbalance=4.0), tmp_path)
    for each in replicates(study.study):
        expected = {2: [2, 1, 1], 4: [4, 2, 1]}[each.budget]
        own, fresh = (read_npz(tmp_path / part / each.file(".npz")) for part in (SUBSETS, FRESH))
        np.testing.assert_array_equal(np.bincount(own["labels"]), expected)
        np.testing.assert_array_equal(np.bincount(fresh["labels"]), expected)
        assert not set(own["index"]) & set(fresh["index"])
    for seed in study.study.seeds:
        small, large = (set(index(tmp_path, SUBSETS, budget, seed)) for budget in (2, 4))
        assert small <= large


class Written(Toy):
    """Toy images of twelve writers, in the names of their files."""

    @override
    def load(self) -> RawDataset:
        raw = super().load()
        paths = tuple(f"w{position % 12:02d}_{position}.png" for position in range(len(raw.images)))
        return replace(raw, origins=Origins(paths))


def test_groups_are_beside_labels_where_there_is_a_rule(
    study: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "toy", Written)
    prepare.run(per_seed(study, group=GroupParams(name="^(w..)_")), tmp_path)
    for seed in study.study.seeds:
        labels = read_npz(tmp_path / SPLITS / f"labels/seed-{seed:02d}.npz")
        found = read_npz(tmp_path / SUBSETS / Replicate(4, seed).file(".npz"))
        np.testing.assert_array_equal(found["groups"], labels["groups"][found["index"]])
        assert 6 <= len(set(labels["groups"])) < 12
    record = read_json(tmp_path / SPLITS / "manifest.json")["groups"]
    rule = {"name": "^(w..)_"}
    assert record == {"rule": rule, "num_groups": 12, "largest": 15, "num_in_test": 0}


class White(Toy):
    """Toy images, black on white."""

    @override
    def load(self) -> RawDataset:
        raw = super().load()
        return replace(raw, images=replace(raw.images, images=255 - raw.images.images))


def test_another_background_than_black_goes_with_every_labeled_image(
    study: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "toy", White)
    prepare.run(study, tmp_path)
    assert read_json(tmp_path / SPLITS / "manifest.json")["background"] == [255]
    for path in (tmp_path / SPLITS).rglob("*.npz"):
        if path.parent.name not in ("pool", "ids"):
            assert background_of(read_npz(path)) == (255,), path
    prepare.run(changed(study, "data", background="none"), tmp_path)
    assert read_images(tmp_path / SUBSETS / Replicate(4, 0).file(".npz")).background is None
