"""`init` says what it understood, writes a params.yaml that fits, and loses nothing of the user."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from pipeline.__main__ import app
from pipeline.commands import presets
from pipeline.commands.check import check_params
from pipeline.commands.init.describe import SEQUENCE, sequences
from pipeline.commands.init.options import MAX_SIDE, MIN_SIDE, Options
from pipeline.commands.init.reading import load, suitable_resize
from pipeline.commands.init.write import line, scalar
from pipeline.config.design import with_parts
from pipeline.config.schema import Params, ResizeParams, load_params
from pipeline.config.validation import FILE, parse_yaml
from pipeline.data.reading import cache
from pipeline.data.reading.decoding import Decoded, decode
from pipeline.stages import prepare

ARABIC, BOLD, PLAIN = "قطط", "<b>bold", "[red]dogs"
DATASETS = Path(__file__).resolve().parents[3] / "shared/datasets"
Init = Callable[..., Result]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the shipped settings, and the working directory in it."""
    folder = tmp_path / "my project"
    folder.mkdir()
    presets.apply("default", folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def init(project: Path) -> Init:
    """Runs the command in the project."""
    return lambda path, *flags: CliRunner().invoke(app, ["init", str(path), *flags])


def smooth(count: int, size: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    """Different RGB pictures of `size` (height, width)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    height, width = size
    return [
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        for image in coarse
    ]


def write_class(folder: Path, images: list[np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")


def three_classes(folder: Path, count: int = 40, size: tuple[int, int] = (32, 40)) -> Path:
    for seed, name in enumerate((ARABIC, BOLD, PLAIN)):
        write_class(folder / name, smooth(count, size, seed))
    return folder


def test_images_without_a_label_get_a_teacher_and_an_arm(project: Path, init: Init) -> None:
    folder = three_classes(project.parent / "photos")
    write_class(folder / "unlabeled", smooth(10, (32, 40), seed=7))
    result = init(folder)
    assert result.exit_code == 0, result.output
    assert "pseudo_label" in result.output

    params = check_params(project)
    assert params.teachers["pool"].family == "automatic"
    assert params.arms["pseudo_label"].teacher == "pool"
    assert params.arms["pseudo_label"].per_class == 4


def test_a_small_folder_with_names_in_any_script(project: Path, init: Init) -> None:
    result = init(three_classes(project.parent / "mes été photos"))
    assert result.exit_code == 0, result.output
    for words in (ARABIC, BOLD, PLAIN, "40 x 32", "a folder per class", "make run", "--budget"):
        assert words in result.output
    assert (project / "data/contact_sheet.png").is_file()

    params = check_params(project)
    assert params.data.settings["path"] == "../mes été photos"
    assert params.data.resize is None
    assert params.data.per_seed
    assert params.study.budgets == [5]
    assert len(params.study.seeds) == 10
    assert params.report.primary.budget == 5


def test_prepare_accepts_what_was_written(project: Path, init: Init) -> None:
    assert init(three_classes(project.parent / "photos"), "--seeds", "2").exit_code == 0
    prepare.run(load_params(project), project)
    assert (project / "data/splits/manifest.json").is_file()


def test_flags_override_guesses(project: Path, init: Init) -> None:
    result = init(
        three_classes(project.parent / "photos"),
        *("--size", "24", "--policy", "stretch", "--background", "250,245,240"),
        *("--test-frac", "0.5", "--shared-test", "--budget", "2", "--budget", "4"),
        *("--seeds", "3", "--classes", f"{PLAIN},{ARABIC}", "--set", "channels=rgb"),
        *("--group-name", r"^\d+"),
    )
    assert result.exit_code == 0, result.output
    params = check_params(project)
    data = params.data
    assert data.resize is not None
    assert (data.resize.shape, data.resize.policy) == ((24, 24), "stretch")
    assert data.settings["classes"] == [PLAIN, ARABIC]
    assert data.settings["channels"] == "rgb"
    assert (data.test.frac, data.per_seed) == (0.5, False) if data.test else False
    assert data.group is not None
    assert data.group.name == r"^\d+"
    assert data.background == [250, 245, 240]
    assert (params.study.budgets, params.study.seeds) == ([2, 4], [0, 1, 2])


def test_a_large_set_has_one_test_set_and_large_photos_are_padded(
    project: Path, init: Init
) -> None:
    folder = project.parent / "photos"
    for seed, name in enumerate(("1", "2", "10")):
        write_class(folder / name, smooth(160, (40, 80), seed))
    result = init(folder)
    assert result.exit_code == 0, result.output
    params = check_params(project)
    assert params.data.test_per_class == 100
    assert params.study.budgets == [10]
    assert params.data.resize is not None
    assert params.data.resize.policy == "pad"
    assert result.output.index("\n2 ") < result.output.index("\n10 ")  # natural order


def test_near_twins_become_groups_unless_a_flag_says_no(project: Path, init: Init) -> None:
    folder = project.parent / "tiles"
    for seed, name in enumerate(("crack", "free")):
        images = smooth(30, (32, 32), seed)
        darker = [(image * 0.7).astype(np.uint8) for image in images[:10]]
        write_class(folder / name, images + darker)
    result = init(folder)
    assert result.exit_code == 0, result.output
    assert "40 images (50.0 %) are nearly like another" in result.output
    assert (project / "data/near_twins.png").is_file()
    group = check_params(project).data.group
    assert group is not None
    assert group.twins == 0.98
    assert init(folder, "--no-groups").exit_code == 0
    assert load_params(project).data.group is None


def test_unequal_classes_get_arms_of_balance(project: Path, init: Init) -> None:
    folder = project.parent / "photos"
    for seed, (name, count) in enumerate((("many", 90), ("few", 15))):
        write_class(folder / name, smooth(count, (28, 28), seed))
    assert init(folder).exit_code == 0
    params = check_params(project)
    assert params.data.imbalance == "natural"
    assert {"weighted", "smote", "dcgan_balance"} <= params.arms.keys()


def test_the_reference_is_chosen_in_every_replicate(project: Path, init: Init) -> None:
    assert init(three_classes(project.parent / "photos")).exit_code == 0
    params = check_params(project)
    assert params.report.reference == "tuned"
    assert params.arms["tuned"].transform == params.arms["dcgan_tuned"].transform == "tuned"
    tuned = params.transforms["tuned"].settings
    parts = {part for name in tuned["choices"] for part in with_parts(params, name)}
    assert "none" in tuned["choices"]
    assert {"affine", "flip", "color"} <= parts
    assert tuned["fold_settings"]["cnn"]["steps"] <= params.classifiers["cnn"].settings["steps"]


def test_duplicates_and_conflicts_are_named(project: Path, init: Init) -> None:
    folder = three_classes(project.parent / "photos")
    shutil.copy(folder / PLAIN / "3.png", folder / PLAIN / "copy.png")
    shutil.copy(folder / PLAIN / "4.png", folder / BOLD / "other.png")
    output = init(folder).output
    assert "1 exact copies within a class" in output
    assert f"2 images are in several classes and are dropped: {PLAIN}/4.png" in output or (
        f"{BOLD}/other.png is {BOLD} and {PLAIN}" in output
    )


def test_a_damaged_file_is_named_and_left_out(project: Path, init: Init) -> None:
    folder = three_classes(project.parent / "photos")
    whole = (folder / BOLD / "5.png").read_bytes()
    (folder / BOLD / "5.png").write_bytes(whole[: len(whole) // 2])
    result = init(folder)
    assert result.exit_code == 0, result.output
    assert f"{BOLD}/5.png" in result.output
    assert load_params(project).data.settings["on_error"] == "skip"
    assert f"{BOLD}/5.png" in (project / FILE).read_text("utf-8")


def nothing(folder: Path) -> Path:
    return folder / "nothing"


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def flat(folder: Path) -> Path:
    write_class(folder / "flat", smooth(5, (32, 32)))
    return folder / "flat"


def one_class(folder: Path) -> Path:
    write_class(folder / "one/cat", smooth(5, (32, 32)))
    return folder / "one"


def text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    return folder / "notes.txt"


def documents(folder: Path) -> Path:
    (folder / "docs").mkdir()
    for number in range(3):
        (folder / f"docs/{number}.pdf").write_bytes(b"%PDF-1.4 something of a document")
    return folder / "docs"


def two_images(folder: Path) -> Path:
    write_class(folder / "two/bear", smooth(2, (32, 32), 7))
    return three_classes(folder / "two")


def many_classes(folder: Path) -> Path:
    picture = smooth(1, (8, 8))
    for number in range(300):
        write_class(folder / f"many/{number}", picture)
    return folder / "many"


def itself(folder: Path) -> Path:
    return folder / "my project"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (nothing, ("found nothing", "a folder of images per class")),
        (empty, ("no file at all",)),
        (flat, ("class",)),
        (one_class, ("two classes",)),
        (text, ("a file .txt", "a folder of images per class")),
        (documents, ("3 .pdf",)),
        (two_images, ("'bear' (2)", "--classes")),
        (many_classes, ("found 300", "--classes")),
        (itself, ("the folder of this project",)),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_changes_nothing(
    project: Path, init: Init, make: Callable[[Path], Path], words: tuple[str, ...]
) -> None:
    before = (project / FILE).read_bytes()
    result = init(make(project.parent))
    assert result.exit_code in (2, 3), result.output
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    for word in words:
        assert word in result.stderr
    assert (project / FILE).read_bytes() == before
    assert not (project / "data/contact_sheet.png").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ("--test-frac", "0.3", "--test-per-class", "5"),
        ("--group-folder", "--group-twins", "0.9"),
        ("--background", "blue"),
        ("--background", "1,2"),
        ("--policy", "squash"),
        ("--budget", "400"),
        ("--class-names", "a,b"),
        ("--set", "no sign"),
        ("--set", "vall=test"),
        ("--size", "1000"),
        ("--set", "name=tabel"),
        ("--classes", ""),
    ],
)
def test_flags_that_do_not_fit_are_one_sentence(
    project: Path, init: Init, flags: tuple[str, ...]
) -> None:
    before = (project / FILE).read_bytes()
    result = init(three_classes(project.parent / "photos", count=10), *flags)
    assert result.exit_code in (2, 3), result.output
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert (project / FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        # Keys that init decides, and values that are not the default because they are zero.
        (("--set", "background=none"), "--set background: .* Fix: use --background"),
        (("--set", "resize={size: 48}"), "--set resize: .* Fix: use --size"),
        (("--set", "test={frac: 0.4}"), "--set test: .* Fix: use --test-frac"),
        (("--set", "path=elsewhere"), "--set path: .* Fix: give it as PATH"),
        (("--set", "classes=[a, b]", "--classes", "a,b"), "--classes or --set classes"),
        (("--test-frac", "0"), "--test-frac: expected a number above 0 and below 1, found 0.0"),
        (("--size", "0"), "--size: expected 4 to 128, found 0"),
        (("--group-twins", "0"), "--group-twins: expected a number above 0"),
        (("--test-per-class", "0"), "--test-per-class: expected 1 to"),
        # The flag of the test set is to blame, not --budget.
        (("--test-frac", "1.5"), "--test-frac: expected a number above 0"),
        (("--test-frac", "0.99"), "--test-frac: expected a test set that leaves at least 2"),
        (
            ("--test-per-class", "50"),
            "--test-per-class: expected a test set that leaves .*found 50",
        ),
        (("--budget", "9"), "--budget: expected at most 3"),
        # Flags, not params.yaml.
        (("--size", "3000"), "--size: expected 4 to 128, found 3000"),
        (("--budget", "0"), "--budget: expected 1 to"),
        (("--budget", "2", "--budget", "2"), "--budget: expected different numbers"),
        (("--seeds", "0"), "--seeds: expected 1 to"),
        (("--background", "300"), "--background: expected auto, none, or"),
        (("--alpha-onto", "bleu"), "--alpha-onto: .*bleu"),
        (("--group-twins", "2"), "--group-twins: expected a number .* found 2"),
        (("--group-name", "("), "--group-name: expected a regular expression"),
        (("--group-name", "^x"), "--group-name: expected '\\^x' to match every file name"),
        (("--group-column", "patient"), "--group-column: expected a column"),
        (("--set", "channels=cmyk"), "--set: channels"),
    ],
)
def test_a_wrong_flag_is_named(
    project: Path, init: Init, flags: tuple[str, ...], words: str
) -> None:
    result = init(three_classes(project.parent / "photos", count=10), *flags)
    assert result.exit_code in (2, 3), result.output
    error = result.stderr.strip().splitlines()[-1]
    assert re.search(f"init: {words}", error) or re.search(words, error), error
    assert "edit params.yaml" not in error
    assert "constrained" not in error


def test_sides_are_those_of_params_yaml() -> None:
    assert {ResizeParams(size=side).size for side in (MIN_SIDE, MAX_SIDE)} == {MIN_SIDE, MAX_SIDE}
    for side in (MIN_SIDE - 1, MAX_SIDE + 1):
        with pytest.raises(ValidationError):
            ResizeParams(size=side)


def test_set_chooses_the_kind_of_dataset(project: Path, init: Init) -> None:
    assert "name=table" in " ".join(CliRunner().invoke(app, ["init", "--help"]).output.split())
    folder = three_classes(project.parent / "photos")
    rows = [f"{BOLD}/{number}.png,{'ab'[number % 2]}" for number in range(40)]
    (folder / "quality.csv").write_text("\n".join(["file,label", *rows]), encoding="utf-8")
    assert init(folder).exit_code == 0
    assert load_params(project).data.name == "image_folder"
    result = init(folder, "--set", "name=table")
    assert result.exit_code == 0, result.output
    assert load_params(project).data.name == "table"


def with_own_test(folder: Path, count: int = 40) -> Path:
    """Two classes with a test set, whose images are new."""
    for seed, name in enumerate(("crack", "free")):
        images = smooth(2 * count, (32, 32), seed)
        write_class(folder / "train" / name, images[:count])
        write_class(folder / "test" / name, images[count:])
    return folder


def test_near_twins_across_training_and_test_images_are_found(project: Path, init: Init) -> None:
    folder = with_own_test(project.parent / "tiles")
    assert "near twins: none" in init(folder).output
    for name in ("crack", "free"):
        for number in range(5):
            image = np.asarray(Image.open(folder / "train" / name / f"{number}.png"))
            lighter = np.clip(image.astype(int) + 3, 0, 255).astype(np.uint8)
            Image.fromarray(lighter).save(folder / "test" / name / f"{number}.png")
    result = init(folder)
    assert result.exit_code == 0, result.output
    assert "10 training images have a near twin in the test set" in result.output
    assert (project / "data/near_twins.png").is_file()
    group = load_params(project).data.group
    assert group is not None
    assert group.twins == 0.98


def test_the_learning_curve_stays_below_half_of_the_pool(project: Path, init: Init) -> None:
    assert init(with_own_test(project.parent / "tiles")).exit_code == 0
    study = load_params(project).study
    assert study.budgets == [10]
    assert study.curve_budgets == [20]


def test_groups_that_nobody_asked_for_are_left_out_where_they_do_not_fit(
    project: Path, init: Init
) -> None:
    write_class(project.parent / "tiles/free", smooth(40, (32, 32)))
    film = smooth(1, (32, 32), 1)[0].astype(int)
    frames = [np.clip(film + step, 0, 255).astype(np.uint8) for step in range(20)]
    write_class(project.parent / "tiles/crack", frames)
    result = init(project.parent / "tiles")
    assert result.exit_code == 0, result.output
    assert "groups: none; near twins may be on both sides of a split" in result.output
    assert load_params(project).data.group is None
    assert "found 1 with all 20 images" in (project / FILE).read_text("utf-8")

    result = init(project.parent / "tiles", "--group-twins", "0.98")
    assert result.exit_code == 3
    assert "Fix: change --group-twins" in result.stderr


@pytest.mark.parametrize("takes", [3, 1])
def test_sequences_are_advised_as_groups_only_if_the_splits_allow_them(
    takes: int, project: Path, init: Init
) -> None:
    for seed, (name, several) in enumerate((("crack", 3), ("free", takes))):
        folder = project.parent / "tiles" / name
        folder.mkdir(parents=True)
        for number, image in enumerate(smooth(30, (32, 32), seed)):
            Image.fromarray(image).save(folder / f"take{'abc'[number % several]}_{number}.png")
    result = init(project.parent / "tiles")
    assert result.exit_code == 0, result.output
    assert "numbered beginnings" in result.output
    assert ("add --group-name" in result.output) == (takes == 3)
    advised = init(project.parent / "tiles", "--group-name", SEQUENCE)
    assert (advised.exit_code == 0) == (takes == 3)


def test_a_large_class_limits_the_budget_of_unequal_classes(project: Path, init: Init) -> None:
    for seed, (name, count) in enumerate((("many", 90), ("few", 15))):
        write_class(project.parent / "photos" / name, smooth(count, (28, 28), seed))
    assert init(project.parent / "photos").exit_code == 0
    assert "half of what class many has for training" in (project / FILE).read_text("utf-8")


def test_tables_in_the_folders_of_parts_are_recognized(project: Path, init: Init) -> None:
    for seed, part in enumerate(("train", "test")):
        folder = project.parent / "set" / part
        write_class(folder, smooth(40, (28, 28), seed))
        rows = [f"{number}.png,{'ab'[number % 2]}" for number in range(40)]
        table = "\n".join(["file_name,label", *rows])
        (folder / "metadata.csv").write_text(table, encoding="utf-8")
    result = init(project.parent / "set")
    assert result.exit_code == 0, result.output
    assert load_params(project).data.name == "table"
    assert "train/metadata.csv" in result.output


@pytest.mark.parametrize(
    "table", ["label,latin\ncrack,fissura\nfree,liber\n", "id,name\n0,crack\n1,free\n"]
)
def test_a_table_about_classes_is_not_the_list_of_images(
    table: str, project: Path, init: Init
) -> None:
    folder = project.parent / "tiles"
    for seed, name in enumerate(("crack", "free")):
        write_class(folder / name, smooth(20, (32, 32), seed))
    (folder / "labels.csv").write_text(table, encoding="utf-8")
    result = init(folder)
    assert result.exit_code == 0, result.output
    assert "labels.csv names no images" in result.output
    assert load_params(project).data.name == "image_folder"


def test_an_edited_file_needs_force_and_is_kept(project: Path, init: Init) -> None:
    folder = three_classes(project.parent / "photos")
    assert init(folder).exit_code == 0
    assert init(folder, "--budget", "3").exit_code == 0  # nobody edited what init wrote
    mine = (project / FILE).read_text("utf-8").replace("seeds: [0, 1, ", "seeds: [0, ")
    (project / FILE).write_text(mine, encoding="utf-8")
    result = init(folder)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert (project / FILE).read_text("utf-8") == mine
    result = init(folder, "--force")
    assert result.exit_code == 0, result.output
    assert (project / f"{FILE}.bak").read_text("utf-8") == mine
    assert f"{FILE}.bak" in result.output


def test_arrays_and_tables_are_recognized(project: Path, init: Init) -> None:
    images = np.stack(smooth(60, (28, 28)))
    labels = np.arange(60) % 3
    np.savez(project.parent / "set.npz", images=images, labels=labels)
    result = init(project.parent / "set.npz", "--class-names", f"a,b,{ARABIC}")
    assert result.exit_code == 0, result.output
    assert ARABIC in result.output
    assert check_params(project).data.name == "npz"

    write_class(project.parent / "table/pictures", list(images))
    rows = [f"pictures/{number}.png,c{label}" for number, label in enumerate(labels)]
    table = "\n".join(["file_name,label", *rows])
    (project.parent / "table/metadata.csv").write_text(table, encoding="utf-8")
    result = init(project.parent / "table")
    assert result.exit_code == 0, result.output
    assert "metadata.csv" in result.output
    assert check_params(project).data.name == "table"


def test_numbered_beginnings_are_sequences_where_a_folder_has_several() -> None:
    frames = [f"cat/walk{take}_{number}.png" for take in "ab" for number in range(4)]
    assert sequences(frames) == ("walka_", "walkb_")
    assert not sequences([f"cat/IMG_{number}.JPG" for number in range(9)])
    assert not sequences([f"cat/{number}.png" for number in range(9)])


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "NA",
        "001",
        "$5",
        "a: b",
        "#1",
        "قطط",
        "[x]",
        "'",
        '"',
        "yes",
        "\x07",
        "1.0",
        "~",
        "",
    ],
)
def test_names_survive_yaml(value: str) -> None:
    text = line(f"key: {scalar([value, value])}", "a comment with \n a break")
    assert parse_yaml(text, FILE) == {"key": [value, value]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sign_digits", "components_rgba", "magnetic_tile", "mnist"])
def test_real_sets(name: str, project: Path, init: Init) -> None:
    if not (DATASETS / name).is_dir():
        pytest.skip("the datasets are not part of the project")
    result = init(DATASETS / name)
    assert result.exit_code == 0, result.output
    params: Params = check_params(project)
    if name == "magnetic_tile":
        assert "188 masks beside photos" in result.output
        assert params.data.group is not None
        assert params.data.imbalance == "natural"
    else:
        assert params.data.group is None
        assert params.data.imbalance == 1.0


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(32, 40)], None),  # small and of one size
        ([(6, 6)], ((8, 8), "crop")),
        ([(6, 20)], ((20, 20), "pad")),
        ([(16, 16), (16, 24)], ((24, 24), "pad")),
        ([(16, 16), (20, 20)], ((20, 20), "crop")),
        ([(200, 200)], ((32, 32), "crop")),
        ([(20, 120)], ((32, 32), "pad")),
        ([], None),
    ],
)
def test_the_size_suits_the_images(sizes: list[tuple[int, int]], expected: object) -> None:
    resize, why = suitable_resize(sizes, Options())
    assert (resize and (resize.shape, resize.policy)) == expected
    assert bool(why) == (resize is not None)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((20, 120), ((32, 32), "pad")), ((6, 6), ((8, 8), "crop")), ((140, 140), ((32, 32), "crop"))],
)
def test_arrays_that_models_refuse_are_resized(
    size: tuple[int, int], expected: object, project: Path, init: Init
) -> None:
    path = project.parent / "set.npz"
    np.savez(path, images=np.stack(smooth(90, size)), labels=np.arange(90) % 3)
    result = init(path)
    assert result.exit_code == 0, result.output
    resize = check_params(project).data.resize
    assert resize is not None
    assert (resize.shape, resize.policy) == expected


def test_small_files_of_one_size_are_decoded_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []

    def watched(content: bytes, where: str, *settings: Any) -> Decoded:
        names.append(where)
        return decode(content, where, *settings)

    monkeypatch.setattr(cache, "decode", watched)
    folder = three_classes(project.parent / "photos", 5)
    loaded = load({"name": "image_folder", "path": str(folder)}, Options(), project)
    assert "resize" not in loaded.section
    assert len(names) == len(set(names)) == 15


def test_padding_is_no_background_and_a_flag_reaches_it(project: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        noise = rng.integers(0, 200, (20, 1, 1, 1)) + rng.integers(0, 50, (20, 20, 80, 3))
        write_class(project.parent / "photos" / name, list(noise.astype(np.uint8)))
    section = {"name": "image_folder", "path": str(project.parent / "photos")}
    loaded = load(section, Options(), project)
    assert loaded.section["resize"] == {"size": 32, "policy": "pad"}
    assert loaded.background is None
    loaded = load(section, Options(background="255"), project)
    assert loaded.background == (255,)
    assert (loaded.raw.images.images[:, :, :12] == 255).all()
