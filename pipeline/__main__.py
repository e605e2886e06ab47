"""The command line for people: `python -m pipeline COMMAND`.

DVC runs the stages; these commands look before and after: are the settings sound, what came out.
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
    """The params of `root`, after setting their bits: before numpy and torch are imported."""
    params = load_params(root)
    set_bits(params.bits)
    warn_of_processor()
    return params


@app.command()
def check() -> None:
    """Check all of params.yaml, every member's own section included, before anything runs."""
    with exit_on_error():
        settings(Path.cwd())
        from pipeline.commands.check import (  # reads every registry, and so torch
            check_params,
            summary,
        )

        params = check_params(Path.cwd())
        if not params.generators:
            raise ParamsError(
                "generators", "expected at least one, found none", "see params.yaml as shipped"
            )
        print(f"params.yaml is sound: {summary(params)}")


@app.command()
def show(
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown.")] = False,
) -> None:
    """Print the headline table of the last report, rank generators, and name the page."""
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
    """Lay ready-made settings over params.yaml; its comments stay."""
    from pipeline.commands import presets

    with exit_on_error():
        changed = presets.apply(name, Path.cwd())
        print(f"preset {name}: changed {', '.join(changed) or 'nothing'}")


if __name__ == "__main__":
    app()
