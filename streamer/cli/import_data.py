"""``operando import``: make a recording out of files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_data(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of .xrm files (SSRL, Xradia), a TIFF stack or folder with an energy "
            "list, or an FXI HDF5 file.",
            exists=True,
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The recording, *.msgpack.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(help="xrm, tiff or fxi; default: seen from the files.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing recording.")] = False,
) -> None:
    """Make a recording out of data that you already have; then `operando replay` plays it.

    Files that cannot be read are skipped, counted and named.
    """
    from rich.progress import Progress

    from ..importers import import_to_recording
    from .terminal import console, say

    with Progress(console=console()) as bar:
        task = bar.add_task("reading", total=None)
        report = import_to_recording(
            source,
            output,
            importer=kind,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for path, reason in report.skipped:
        say(f"skipped {path}: {reason}", "yellow")
    say(f"wrote {output}: {report.files} files read, {len(report.skipped)} skipped")
