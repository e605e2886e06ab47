"""The command line for people: `python -m pipeline COMMAND`.

DVC runs the stages. These commands check the settings before a run and show the results after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.config.schema import Params, load_params
from pipeline.runtime.bits import set_bits, warn_of_processor
from pipeline.runtime.errors import ParamsError, exit_on_error

app = typer.Typer(
    help="Will synthetic images make my classifier better, by how much, and at what cost?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def settings(root: Path) -> Params:
    """The params of `root`. Sets their bits first: numpy and torch read these when imported."""
    params = load_params(root)
    set_bits(params.bits)
    warn_of_processor()
    return params


@app.command()
def check() -> None:
    """Check all of params.yaml and build every model once, before anything runs."""
    with exit_on_error():
        settings(Path.cwd())
        # Imports every registry, and so torch.
        from pipeline.commands.check import check_params, summary

        params = check_params(Path.cwd())
        if not params.generators:
            raise ParamsError(
                "generators", "expected at least one, found none", "run `preset default`"
            )
        print(f"params.yaml is valid: {summary(params)}")


@app.command()
def init(  # noqa: PLR0913, PLR0917 (an argument per flag)
    path: Annotated[Path, typer.Argument(help="a folder, zip, table, .npz or IDX file")],
    size: Annotated[int | None, typer.Option(help="pixels of a side")] = None,
    policy: Annotated[str | None, typer.Option(help="crop, pad or stretch")] = None,
    background: Annotated[
        str | None, typer.Option(help="auto, none (photos), or levels: 255 or 250,245,240")
    ] = None,
    alpha_onto: Annotated[str | None, typer.Option(help="color behind transparency")] = None,
    test_frac: Annotated[float | None, typer.Option(help="share held out as the test set")] = None,
    test_per_class: Annotated[int | None, typer.Option(help="test images per class")] = None,
    per_seed: Annotated[
        bool | None, typer.Option("--per-seed/--shared-test", help="test set per seed, or shared")
    ] = None,
    group_column: Annotated[str | None, typer.Option(help="group: column of the table")] = None,
    group_name: Annotated[str | None, typer.Option(help="group: regex on the file name")] = None,
    group_folder: Annotated[bool, typer.Option("--group-folder", help="group: sub-folder")] = False,
    group_twins: Annotated[
        float | None, typer.Option(help="group: correlation, such as 0.98")
    ] = None,
    no_groups: Annotated[
        bool, typer.Option("--no-groups", help="no groups, even with near twins")
    ] = False,
    budget: Annotated[
        list[int] | None, typer.Option(help="labels per class; may be repeated")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="number of replicates")] = None,
    file_column: Annotated[str | None, typer.Option(help="column of file names")] = None,
    label_column: Annotated[str | None, typer.Option(help="column of labels")] = None,
    classes: Annotated[str | None, typer.Option(help="classes to use: A,B,C")] = None,
    class_names: Annotated[
        str | None, typer.Option(help="names in the order of labels: A,B,C")
    ] = None,
    more: Annotated[
        list[str] | None, typer.Option("--set", help="another key of data, such as name=table")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace an edited params.yaml")] = False,
) -> None:
    """Inspect your own images, print what was found, and write params.yaml for them.

    Example: python -m pipeline init ../photos --size 64 --budget 5 --budget 10
    """
    with exit_on_error():
        root = Path.cwd()
        set_bits("portable")
        # Imports torch, through the report's figures.
        from pipeline.commands import init
        from pipeline.commands.init.options import keys_and_values, listed

        options = init.Options(
            size=size,
            policy=policy,
            background=background,
            test_frac=test_frac,
            test_per_class=test_per_class,
            per_seed=per_seed,
            group_column=group_column,
            group_name=group_name,
            group_folder=group_folder,
            group_twins=group_twins,
            no_groups=no_groups,
            budgets=tuple(budget or ()),
            seeds=seeds,
            label_column=label_column,
            file_column=file_column,
            classes=listed(classes),
            class_names=listed(class_names),
            alpha_onto=alpha_onto,
            settings=keys_and_values(more or ()),
            force=force,
        )
        init.run(path, options, root)


@app.command()
def show(
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown.")] = False,
) -> None:
    """Print the main tables of the last report and the path of its page."""
    with exit_on_error():
        root = Path.cwd()
        params = settings(root)
        from pipeline.report import html, terminal
        from pipeline.stages import report

        if markdown:
            print(terminal.report_markdown(root, params))
            return
        if (root / "results").exists() and not html.is_current(root):
            report.run(params, root)
        terminal.show(root, params)


@app.command()
def preset(
    name: Annotated[str, typer.Argument(help="a file of presets/, without .yaml")],
) -> None:
    """Replace params.yaml with ready-made settings; a file of your own is kept as a backup."""
    from pipeline.commands import presets

    with exit_on_error():
        backup = presets.apply(name, Path.cwd())
        kept = f"; your own params.yaml was moved to {backup.name}" if backup else ""
        print(f"params.yaml is now preset {name}{kept}")


if __name__ == "__main__":
    app()
