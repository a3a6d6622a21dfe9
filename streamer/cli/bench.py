"""``operando bench``: measured speed and accuracy."""

from __future__ import annotations

from typing import Annotated

import typer

from .bench_live import crash, dashboard, overload, recenter, soak, stream
from .bench_options import Bars, JsonFile, finish
from .bench_quality import accuracy, chemistry, detection, paper, real
from .options import Device, Profile

app = typer.Typer(no_args_is_help=True, help="Measure speed and accuracy on this machine.")
_CASES = {"460x460, 9 particles": "paper", "2048x2048, 20 particles": "large_2048"}
_LONGEST = 143  # energies of a simulated scan


@app.command()
def pipeline(
    frames: Annotated[int, typer.Option(min=3, help="Frames per case.")] = 40,
    path: Annotated[
        bool,
        typer.Option(
            "--path",
            help="No times: files and functions that one frame passes from its document to the "
            "result documents, and how often the file changes.",
        ),
    ] = False,
    profile: Profile = None,
    device: Device = None,
    output: JsonFile = None,
) -> None:
    """Measure the time per frame and stage of the core, one frame at a time, in one process."""
    from ...models.device import bounded_threads
    from ..lab.bench.pipeline import table, time_stages, trace_frame
    from ..lab.simulate import preset, simulate_documents
    from .outputs import settings_of

    if path:
        finish(trace_frame(), output)
        return
    settings = settings_of(profile, device)
    figures = {}
    with Bars() as bars, bounded_threads(settings.process.thread_count):
        for label, name in _CASES.items():
            simulated = preset(name, n_energies=min(frames, _LONGEST))
            stream = simulate_documents(simulated, order="flat_first")
            times, particles = time_stages(stream, settings, bars.one(label), frames)
            figures[label] = {
                "particles": particles,
                "ms": times.medians(),
                "mean_ms": times.means(),
            }
    finish(figures, output, table(figures, settings.process.device))


for command in (
    *(accuracy, chemistry, crash, dashboard, detection, overload, paper, real, recenter, soak),
    stream,
):
    app.command()(command)
