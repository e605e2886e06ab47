"""Every teacher keeps its contract; labels spread as the literature says; misuse is named."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

from pipeline.data.images import Images, ImageSpec, LabeledImages, flat
from pipeline.nn.augment import AffineConfig
from pipeline.nn.averaging import moving_average
from pipeline.report.captions import FAR_RANK
from pipeline.runtime.determinism import deterministic
from pipeline.runtime.errors import DivergedError, ParamsError, TrialError
from pipeline.runtime.files import read_npz, write_npz
from pipeline.runtime.seeds import numpy_rng
from pipeline.stages import evaluate_teacher, train_teacher
from pipeline.teachers import TEACHERS
from pipeline.teachers.base import Teacher, distance_rank, refuse_unusable
from pipeline.teachers.features import (
    affinity,
    deslant,
    hog_features,
    principal_components,
    propagate_labels,
)
from pipeline.teachers.fixmatch import FixMatchConfig, Phase, pseudo_labels
from pipeline.teachers.label_propagation import (
    LabelPropagation,
    LabelPropagationConfig,
    Round,
    most_confident,
    refuse_small,
)
from pipeline.teachers.ssgan import SSGAN

EVERY = sorted(TEACHERS)
STILL = {"degrees": 2.0, "translate": 0.02, "scale": 0.02, "shear": 2.0}
SECTIONS: dict[str, dict[str, Any]] = {
    "graph": {
        "confidence": 0.8,
        "keep_frac": 1.0,
        "components": 20,
        "neighbors": 5,
        "alpha": 0.9,
        "hog_weight": 0.3,
        "labeled_weight": 5.0,
        "rounds": [
            {"steps": 40, "batch_size": 16, "top_frac": 0.8},
            {
                "steps": 20,
                "steps_per_label": 4.0,
                "max_steps": 60,
                "batch_size": 16,
                "fixmatch": {
                    "batch_size": 16,
                    "threshold": 0.9,
                    "warmup_frac": 0.3,
                    "alignment_decay": 0.9,
                },
                "top_frac": 0.9,
            },
        ],
        "network": {
            "channels": 8,
            "features": 16,
            "dropout": 0.1,
            "learning_rate": 0.003,
            "weight_decay": 0.01,
            "ema_decay": 0.9,
            "num_tta": 2,
            "tta_below": 0.9,
            "weak": STILL,
            "strong": {**STILL, "translate": 0.1, "bend": 0.02, "cutout": 0.2},
            "precision": "float32",
        },
    },
    "kplus1": {
        "confidence": 0.8,
        "keep_frac": 1.0,
        "steps": 120,
        "batch_size": 16,
        "latent_dim": 8,
        "generator_channels": 8,
        "channels": 8,
        "features": 16,
        "noise_std": 0.1,
        "dropout": 0.1,
        "learning_rate": 0.003,
        "ema_decay": 0.9,
        "agreement": 1.0,
        "augmentation": STILL,
        "precision": "float32",
    },
}


def taught(name: str, subset: LabeledImages, unlabeled: Images, **changes: object) -> Teacher:
    config = TEACHERS[name].Config.model_validate({**SECTIONS[name], **changes})
    with deterministic():
        return TEACHERS[name](config, 3).fit(subset, unlabeled)


@pytest.fixture(scope="module")
def halves(bars: LabeledImages) -> tuple[LabeledImages, LabeledImages]:
    """Six labeled bars of each class, and all others."""
    chosen = np.concatenate([np.flatnonzero(bars.labels == label)[:6] for label in range(3)])
    return bars.take(chosen), bars.take(np.setdiff1d(np.arange(len(bars)), chosen))


@pytest.fixture(scope="module", params=EVERY)
def trained(
    request: pytest.FixtureRequest, halves: tuple[LabeledImages, LabeledImages]
) -> tuple[str, Teacher]:
    subset, rest = halves
    return request.param, taught(request.param, subset, rest.images)


@pytest.mark.parametrize(("per_class", "alpha"), [(2, 0.99), (20, 0.99), (100, 0.95), (2000, 0.5)])
def test_labels_spread_less_far_where_there_are_more(per_class: int, alpha: float) -> None:
    changes = {**SECTIONS["graph"], "alpha": 0.99, "restart_per_label": 0.0005}
    labels = np.repeat(np.arange(3), per_class)
    subset = LabeledImages(np.zeros((len(labels), 1, 1, 1), dtype=np.uint8), labels)
    assert LabelPropagationConfig.model_validate(changes).propagation_alpha(
        subset
    ) == pytest.approx(alpha)


@pytest.mark.parametrize(("labels", "steps"), [(10, 60), (24, 60), (26, 65), (100, 80)])
def test_more_labels_are_worth_more_steps(labels: int, steps: int) -> None:
    each = Round(steps=60, steps_per_label=2.5, max_steps=80, batch_size=16, top_frac=0.9)
    assert each.given(labels) == each.model_copy(update={"steps": steps})


@pytest.mark.parametrize(
    "changes",
    [{"max_steps": 80}, {"steps_per_label": 2.5}, {"steps_per_label": 2.5, "max_steps": 50}],
)
def test_more_steps_have_a_ceiling_that_is_one(changes: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="max_steps"):
        Round.model_validate({"steps": 60, "batch_size": 16, "top_frac": 0.9, **changes})


def test_every_teacher_has_a_section_here() -> None:
    assert sorted(SECTIONS) == EVERY


def test_a_teacher_is_right_far_more_often_than_chance(
    trained: tuple[str, Teacher], halves: tuple[LabeledImages, LabeledImages]
) -> None:
    _, rest = halves
    right = trained[1].predict_proba(rest.images).argmax(axis=1) == rest.labels
    assert right.mean() > 0.65


def test_probabilities_are_rows_that_sum_to_one(
    trained: tuple[str, Teacher], halves: tuple[LabeledImages, LabeledImages]
) -> None:
    probabilities = trained[1].predict_proba(halves[1].images)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (len(halves[1]), 3)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_an_image_is_judged_alike_in_any_company(
    trained: tuple[str, Teacher], halves: tuple[LabeledImages, LabeledImages]
) -> None:
    images, teacher = halves[1].images, trained[1]
    probabilities, alone = teacher.predict_proba(images), teacher.predict_proba(images[5:7])
    np.testing.assert_array_equal(probabilities[5:7], alone)
    np.testing.assert_array_equal(
        teacher.ood_score(images, probabilities)[5:7], teacher.ood_score(images[5:7], alone)
    )


def test_a_teacher_is_restored_from_its_weights(
    trained: tuple[str, Teacher], halves: tuple[LabeledImages, LabeledImages], tmp_path: Path
) -> None:
    name, teacher = trained
    subset, rest = halves
    weights = {key: value.contiguous() for key, value in teacher.network.state_dict().items()}
    save_file(weights, tmp_path / "teacher.safetensors")
    other = TEACHERS[name](teacher.config, 99).restore(subset, tmp_path / "teacher.safetensors")
    np.testing.assert_array_equal(
        other.predict_proba(rest.images), teacher.predict_proba(rest.images)
    )


@pytest.mark.parametrize("name", EVERY)
def test_the_same_images_and_seed_give_the_same_bits_and_touch_nothing(
    name: str, halves: tuple[LabeledImages, LabeledImages]
) -> None:
    subset, rest = halves
    before = subset.images.copy(), subset.labels.copy(), rest.images.copy()
    rounds = [{**each, "steps": 5} for each in SECTIONS["graph"]["rounds"]]
    brief = {"rounds": rounds} if name == "graph" else {"steps": 5}
    found = []
    for global_seed in (1, 2):  # a new process starts from any state
        state = torch.manual_seed(global_seed).get_state()
        found.append(taught(name, subset, rest.images, **brief))
        assert torch.equal(state, torch.get_rng_state())
    first, second = found
    np.testing.assert_array_equal(
        first.predict_proba(rest.images), second.predict_proba(rest.images)
    )
    for old, new in zip(before, (subset.images, subset.labels, rest.images), strict=True):
        np.testing.assert_array_equal(old, new)


def test_only_images_that_the_network_is_not_sure_of_are_looked_at_again(
    halves: tuple[LabeledImages, LabeledImages],
) -> None:
    subset, rest = halves
    brief = [{**each, "steps": 5} for each in SECTIONS["graph"]["rounds"]]
    teacher = taught("graph", subset, rest.images, rounds=brief)
    assert isinstance(teacher, LabelPropagation)
    plain, again, some = (probabilities(teacher, rest.images, sure) for sure in (0.0, 1.0, 0.6))
    sure = plain.max(axis=1) >= 0.6
    assert 0 < sure.sum() < len(sure)
    assert (plain != again).any(axis=1).all()
    np.testing.assert_array_equal(some, np.where(sure[:, None], plain, again))


def probabilities(teacher: LabelPropagation, images: Images, sure: float) -> np.ndarray:
    student = teacher.student
    student.config = student.config.model_copy(update={"tta_below": sure})
    return student.probabilities(images)


def test_agreement_comes_in_slowly_and_an_average_that_begins_forgets_its_start() -> None:
    section = {**SECTIONS["kplus1"], "steps": 100, "ema_decay": 0.9}
    teacher = SSGAN(SSGAN.Config.model_validate(section), 0)
    assert [teacher._ramp(step) for step in (0, 15, 30, 99)] == [0, 0.5, 1, 1]
    for count, decay in ((0, 0.1), (10, 0.55), (1000, 0.9)):
        averaged = [torch.zeros(2)]
        moving_average(0.9)(averaged, [torch.ones(2)], count)
        torch.testing.assert_close(averaged[0], torch.full((2,), 1 - decay))


@pytest.mark.parametrize("name", EVERY)
def test_a_loss_that_is_not_finite_stops_the_training(
    name: str, halves: tuple[LabeledImages, LabeledImages]
) -> None:
    subset, rest = halves
    rate = 1e30
    network = {**SECTIONS["graph"]["network"], "learning_rate": rate}
    changes = {"network": network} if name == "graph" else {"learning_rate": rate}
    with pytest.raises(DivergedError, match="finite teacher loss"):
        taught(name, subset, rest.images, **changes)


def test_spread_labels_solve_the_equation_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3)).astype(np.float32)
    links = affinity(rows, 6)
    labels = np.full(60, -1)
    labels[:4] = [0, 1, 0, 1]
    scale = 1 / np.sqrt(links.toarray().sum(axis=1))
    normalized = scale[:, None] * links.toarray() * scale
    start = np.zeros((60, 2))
    start[range(4), labels[:4]] = 1
    exact = np.linalg.solve(np.eye(60) - 0.9 * normalized, start)
    exact /= exact.sum(axis=1, keepdims=True)
    # Some of the weight is still on its way when the spreading ends.
    assert np.abs(propagate_labels(links, labels, 2, 0.9) - exact).mean() < 0.02


def test_links_are_symmetric_shares_between_neighbors() -> None:
    links = affinity(np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32), 5)
    dense = links.toarray()
    np.testing.assert_array_equal(dense, dense.T)
    assert (np.diag(dense) == 0).all()
    assert (links.getnnz(axis=1) >= 5).all()
    assert 0 < links.data.min() <= links.data.max() <= 1


def test_a_row_that_no_label_reaches_says_nothing() -> None:
    rows = np.array([[0.0], [0.1], [0.2], [50.0], [50.1], [50.2]], dtype=np.float32)
    labels = np.array([0, 1, -1, -1, -1, -1])
    found = propagate_labels(affinity(rows, 1), labels, 2, 0.9)
    np.testing.assert_allclose(found[3:], 0.5)


def test_straightening_undoes_a_slant_and_a_shift() -> None:
    image = np.zeros((1, 1, 28, 28), np.uint8)
    slanted = image.copy()
    for row in range(4, 24):
        image[0, 0, row, 13:15] = 255
        column = 13 + round((row - 14) * 0.4) + 3
        slanted[0, 0, row, column : column + 2] = 255
    upright, found = deslant(image), deslant(slanted)
    assert np.abs(upright - found).mean() < 0.35 * np.abs(flat(image) - flat(slanted)).mean()


def test_components_are_scaled_and_no_more_than_there_are() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 30)).astype(np.float32)
    found = principal_components(rows, 50)
    assert found.shape == (12, 12)
    assert np.linalg.norm(found, axis=1).mean() == pytest.approx(1, rel=1e-5)


def test_the_surest_are_those_with_the_widest_margin_of_every_class() -> None:
    probabilities = np.array(
        [[0.5, 0.5], [0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]], np.float32
    )
    np.testing.assert_array_equal(
        np.sort(most_confident(probabilities, 0.5, num_labeled=1)), [0, 1, 3, 4]
    )


def test_rows_that_no_label_reaches_are_never_among_the_surest() -> None:
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.1, 0.9]], np.float32)
    np.testing.assert_array_equal(most_confident(probabilities, 1.0, num_labeled=1), [0, 3])


def own(
    alignment_decay: float, shares: torch.Tensor, probabilities: torch.Tensor
) -> list[list[float]]:
    """What becomes of images whose first pixel is their number, as [number, label]."""
    still = AffineConfig(degrees=0, translate=0, scale=0, shear=0)
    student = SimpleNamespace(
        config=SimpleNamespace(weak=still), average=None, scores=lambda *_: probabilities.log()
    )
    images = torch.arange(len(probabilities)).float()[:, None, None, None].expand(-1, 1, 2, 2)
    section = FixMatchConfig(
        batch_size=2, threshold=0.8, warmup_frac=0, alignment_decay=alignment_decay
    )
    views = torch.Generator().manual_seed(0)
    kept, labels = pseudo_labels(cast("Any", student), images, section, shares, views)
    assert (labels.sum(dim=1) == 1).all()
    return torch.stack([kept[:, 0, 0, 0], labels.argmax(dim=1)], dim=1).tolist()


def test_a_network_labels_what_it_is_sure_of_once_its_class_shares_are_the_subsets() -> None:
    probabilities = torch.tensor([[0.85, 0.15], [0.9, 0.1], [0.3, 0.7], [0.95, 0.05]])
    shares = torch.full((2,), 0.5)
    assert own(1.0, shares, probabilities) == [[0, 0], [1, 0], [3, 0]]
    assert shares.tolist() == [0.5, 0.5]
    # It says the first class three times as often as the second one: odds are a third of what it
    # says, 1.9 and 3 and 6.3 for the first class, and 7 for the second.
    assert own(0.0, shares, probabilities) == [[2, 1], [3, 0]]
    torch.testing.assert_close(shares, torch.tensor([0.75, 0.25]))
    # One image of a class that the others are not: what it is taken for does not turn into that.
    unlike = torch.tensor([[0.95, 0.05], *[[1 - 1e-6, 1e-6]] * 20])
    assert own(0.0, shares, unlike) == [[number, 0] for number in range(1, 21)]
    assert own(0.5, torch.tensor([0.25, 0.75]), probabilities) == own(
        1.0, torch.full((2,), 0.5), probabilities
    )


def test_a_network_labels_images_itself_from_a_share_of_the_steps_on(
    halves: tuple[LabeledImages, LabeledImages],
) -> None:
    subset, rest = halves
    config = LabelPropagationConfig.model_validate(SECTIONS["graph"])
    section = FixMatchConfig(batch_size=4, threshold=0.0, warmup_frac=0.3, alignment_decay=0.9)
    calls = []

    def spy(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(arguments)
        return pseudo_labels(*arguments)

    def weights(fixmatch: FixMatchConfig | None) -> torch.Tensor:
        targets = np.eye(3, dtype=np.float32)[subset.labels]
        labeled = (subset.images, targets, np.ones(len(subset), np.float32))
        phase = Phase(steps=10, batch_size=4, fixmatch=fixmatch)
        with deterministic(), mock.patch.object(fixmatch, "pseudo_labels", spy):
            student = fixmatch.train(config.network, phase, labeled, rest.images, 1)
        return torch.cat([each.flatten() for each in student.average.parameters()])

    with_own = weights(section)
    assert len(calls) == 7
    assert len({id(shares) for _, _, _, shares, _ in calls}) == 1
    pool = {each.tobytes() for each in rest.images}
    for _, images, *_ in calls:
        seen = (images * 255).round().to(torch.uint8).numpy()
        assert {np.ascontiguousarray(each).tobytes() for each in seen} <= pool
    assert not torch.equal(with_own, weights(None))
    assert len(calls) == 7


def test_images_too_small_to_pool_twice_are_refused_and_oblong_ones_are_not() -> None:
    spec = ImageSpec(channels=1, height=7, width=28, num_classes=2)
    with pytest.raises(ParamsError, match="at least 8, found 7 x 28"):
        refuse_small(spec)
    tall = numpy_rng("oblong").integers(0, 256, (3, 1, 30, 9)).astype(np.uint8)
    assert (
        hog_features(tall).shape
        == hog_features(tall.transpose(0, 1, 3, 2)).shape
        == (3, 8 * 10 * 9)
    )


def test_labeled_images_lie_apart_from_a_pool_of_another_class(
    halves: tuple[LabeledImages, LabeledImages],
) -> None:
    subset, rest = halves
    assert 0.35 < distance_rank(flat(subset.images), flat(rest.images)) < 0.65
    known, others = subset.take(subset.labels != 2), rest.take(rest.labels == 2)
    assert distance_rank(flat(known.images), flat(others.images)) > FAR_RANK
    assert refuse_unusable(subset, rest.images[:1]) == 0.5  # a pool of one


def noise(count: int, *names: str) -> Images:
    return numpy_rng("noise", *names).integers(0, 256, (count, 1, 8, 8)).astype(np.uint8)


def test_a_pool_of_nothing_like_the_labeled_images_is_refused(
    halves: tuple[LabeledImages, LabeledImages],
) -> None:
    subset, rest = halves
    blank = np.zeros_like(rest.images[:1]).repeat(400, axis=0)
    for pool in (noise(400), blank):
        for known in (subset, few(subset)):
            with pytest.raises(TrialError, match="like the labeled ones"):
                refuse_unusable(known, pool)


def few(subset: LabeledImages) -> LabeledImages:
    """One labeled image of each class."""
    return subset.take(np.unique(subset.labels, return_index=True)[1])


def test_a_pool_of_its_own_kind_is_not_refused_with_unknown_images_in_it(
    halves: tuple[LabeledImages, LabeledImages],
) -> None:
    subset, rest = halves
    for known in (subset, few(subset)):
        refuse_unusable(known, rest.images)
        refuse_unusable(known, np.concatenate([rest.images, noise(len(rest))]))


def test_an_empty_pool_and_a_class_without_labels_are_refused(
    halves: tuple[LabeledImages, LabeledImages],
) -> None:
    subset, rest = halves
    with pytest.raises(TrialError, match="expected unlabeled images, found none"):
        refuse_unusable(subset, rest.images[:0])
    with pytest.raises(TrialError, match="none of class 0"):
        refuse_unusable(subset.take(subset.labels < 0), rest.images)
    with pytest.raises(TrialError, match="none of class 1"):
        refuse_unusable(subset.take(subset.labels != 1), rest.images)


def test_the_strangest_images_get_no_label(
    halves: tuple[LabeledImages, LabeledImages], tmp_path: Path
) -> None:
    subset, rest = halves
    index = np.arange(len(subset))
    write_npz(tmp_path / "draw.npz", images=subset.images, labels=subset.labels, index=index)
    write_npz(tmp_path / "pool.npz", images=np.concatenate([subset.images, rest.images]))
    config = TEACHERS["graph"].Config.model_validate({**SECTIONS["graph"], "keep_frac": 0.25})
    with deterministic():
        train_teacher.teach(
            LabelPropagation(config, 3), tmp_path / "draw.npz", tmp_path / "pool.npz", tmp_path
        )
    found = read_npz(tmp_path / "pseudo.npz")
    kept = np.isin(found["unlabeled"], found["index"])
    assert kept.sum() == len(found["labels"]) == np.ceil(0.25 * len(rest))
    ood_score = found["ood_score"]
    assert np.ptp(ood_score) > 0
    assert ood_score[kept].max() <= ood_score[~kept].min()


@pytest.mark.parametrize("name", EVERY)
def test_images_of_a_class_that_was_never_labeled_are_found_strange(
    name: str, halves: tuple[LabeledImages, LabeledImages]
) -> None:
    subset, rest = halves
    teacher = taught(name, subset.take(subset.labels != 2), rest.images)
    with deterministic():
        ood_score = teacher.ood_score(rest.images, teacher.predict_proba(rest.images))
    assert roc_auc_score(rest.labels == 2, ood_score) > 0.7


def audited(tmp_path: Path, truth: list[int], **arrays: object) -> dict[str, float | None]:
    write_npz(tmp_path / "labels.npz", labels=np.array(truth))
    found = {"confidence": 0.8, "remoteness": 0.625, **arrays}
    write_npz(tmp_path / "seed-00.npz", **{name: np.array(each) for name, each in found.items()})
    manifest = {name: {} for name in audit_teacher_parts()} | {"failure": None}
    (tmp_path / "seed-00.manifest.json").write_text(json.dumps(manifest))
    evaluate_teacher.audit(True, tmp_path / "labels.npz", tmp_path / "seed-00.npz", tmp_path)
    report: dict[str, float | None] = json.loads((tmp_path / "audit.json").read_text())
    return report


def audit_teacher_parts() -> tuple[str, ...]:
    from pipeline.trials.provenance import PARTS

    return PARTS


def test_an_audit_counts_right_sure_and_unknown_labels(tmp_path: Path) -> None:
    # Places 0 and 5 of the pool are the draw; 4 is foreign, found strange, and sure all the same.
    report = audited(
        tmp_path,
        [0, 0, 1, 1, -1, 1],
        index=[1, 2, 3, 4],
        labels=[0, 1, 0, 1],
        teacher=[[0.9, 0.1], [0.3, 0.7], [0.85, 0.15], [0.05, 0.95]],
        unlabeled=[1, 2, 3, 4],
        ood_score=[0.1, 0.3, 0.2, 0.9],
    )
    assert report == {
        "num_unlabeled": 4,
        "label_accuracy": pytest.approx(2 / 3),
        "sure_frac": 0.75,
        "sure_accuracy": 0.5,
        "foreign_frac": 0.25,
        "foreign_labeled_frac": 0.25,
        "foreign_sure_frac": pytest.approx(1 / 3),
        "strangeness_auroc": 1.0,
        "remoteness": 0.625,
    }


def test_without_unknown_images_nothing_is_said_of_ood_score(tmp_path: Path) -> None:
    report = audited(
        tmp_path,
        [0, 1, 1],
        index=[1, 2],
        labels=[1, 1],
        teacher=[[0.1, 0.9], [0.4, 0.6]],
        unlabeled=[1, 2],
        ood_score=[0.1, 0.4],
    )
    assert report["strangeness_auroc"] is None
    assert report["sure_frac"] == 0.5
