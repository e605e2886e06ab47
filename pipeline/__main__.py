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
