"""``operando demo``: the whole path on this machine, with real processes."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


def demo(
    folder: Annotated[
        Path, typer.Option("--dir", help="Folder for the server's data, logs and the report.")
    ] = Path("operando-demo"),
    energies: Annotated[int, typer.Option(min=5, help="Energies over the Ni K edge.")] = 143,
    preset: Annotated[
        str, typer.Option(help="What is simulated: paper, calm, strong_jitter, low_counts, ...")
    ] = "paper",
    chunk: Annotated[int, typer.Option(min=1, help="Exposures per energy.")] = 2,
    rate: Annotated[
        float, typer.Option(min=0, help="Energies per second; 0: as fast as it goes.")
    ] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave Tiled and the dashboard running until Ctrl-C.")
    ] = False,
) -> None:
    """Scan a simulated electrode and follow it live, from RunEngine to Tiled.

    Starts a Tiled server, a 0MQ proxy, the service, a dashboard and a simulated beamline as real
    processes on loopback; shows progress while results grow in Tiled; then compares them with the
    truth.
    """
    from ..lab.rig import start_beamline, start_dashboard, start_proxy, start_service
    from ..service.tiled_server import EmbeddedTiled, free_port

    console = Console()
    work = folder.resolve() / time.strftime("%Y%m%d-%H%M%S")
    work.mkdir(parents=True)
    truth = work / "truth.npz"
    port_in, port_out = free_port(), free_port()
    with ExitStack() as stack:
        with console.status("starting Tiled, the proxy and the service"):
            tiled = stack.enter_context(EmbeddedTiled(work / "tiled"))
            stack.enter_context(start_proxy(work, port_in, port_out))
            arguments = _service_arguments(f"127.0.0.1:{port_out}", tiled, work)
            service = start_service(work, arguments, tiled.api_key)
            stack.enter_context(service)
            dashboard, page = start_dashboard(work, tiled.base_uri, tiled.api_key)
            stack.enter_context(dashboard)
        console.print(f"watch it live in a browser: {page}", style="bold", highlight=False)
        console.print(f"Tiled at {tiled.base_uri}, data and logs in {work}", highlight=False)
        arguments = ["--proxy", f"127.0.0.1:{port_in}", "--preset", preset]
        arguments += ["--energies", str(energies), "--chunk", str(chunk), "--seed", str(seed)]
        arguments += ["--rate", str(rate), "--truth", str(truth)]
        beamline = stack.enter_context(start_beamline(work, arguments))
        run = _follow(tiled.uri, energies, beamline, service, console)
        beamline.wait(60)
        service.wait(120)
        _report(run, truth, work, console)
        _how_to_read(tiled, run, console)
        if keep:
            console.print("Ctrl-C ends the server and the dashboard")
            _wait_for_interrupt()


def _service_arguments(zmq: str, tiled: Any, work: Path) -> list[str]:
    arguments = ["--zmq", zmq, "--tiled", tiled.base_uri, "--profile", "sim_txm", "--runs", "1"]
    return [*arguments, "--frames-dir", str(tiled.frames_dir), "--record", str(work / "raw")]


def _follow(uri: str, energies: int, beamline: Any, service: Any, console: Console) -> Any:
    """Show the results grow in Tiled; return the client of the result run when it is complete."""
    from tiled.client import from_uri

    from ..lab.rig import RigError

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    client = from_uri(uri)
    run = None
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("frames in Tiled", total=energies, text="waiting for the scan")
        while service.running or run is None:
            if not service.running and len(client) == 0:
                raise RigError(service.story("ended without a result"))
            if not beamline.running and beamline.process.returncode:
                raise RigError(beamline.story("failed"))
            if run is None and len(client):
                run = client.values().first()
            if run is not None:
                done, text = _progress(run)
                bar.update(task, completed=done, text=text)
            time.sleep(0.5)
        run = client.values().first()
        bar.update(task, completed=_progress(run)[0], text="complete")
    return run


def _progress(run: Any) -> tuple[int, str]:
    if "frames" not in run or "rows" not in run["frames"].base:
        return 0, "opening"
    frames = run["frames"].read()
    if frames.empty:
        return 0, "opening"
    last = frames.iloc[-1]
    text = (
        f"{last['energy']:.1f} eV, {int(last['n_particles'])} particles, "
        f"drift ({last['drift_y']:+.1f}, {last['drift_x']:+.1f}) px, "
        f"latency {1e3 * frames['latency'].median():.0f} ms"
    )
    return int(frames["frame"].nunique()), text


def _report(run: Any, truth_file: Path, work: Path, console: Console) -> None:
    from ..lab.evaluate.accuracy import score
    from ..lab.simulate import Truth

    truth = Truth.load(truth_file)
    particles, frames = run["particles"].read(), run["frames"].read()
    final = score(particles, truth)
    console.print(_table(final))
    provisional = score(particles, truth, revision="first")
    console.print(
        f"position rms {final.overall.rms:.2f} px (provisional {provisional.overall.rms:.2f}), "
        f"median {final.overall.median:.2f}, p95 {final.overall.p95:.2f}; recall "
        f"{final.recall:.3f}; identity switches {final.switches}; false tracks "
        f"{final.false_tracks}",
        highlight=False,
    )
    latency = frames.loc[frames["revision"] == 0, "latency"].to_numpy()
    first, last = run.metadata["start"]["time"], run.metadata["stop"]["time"]
    console.print(
        f"{frames['frame'].nunique() / max(last - first, 1e-9):.1f} frames/s; latency from event "
        f"to result p50 {1e3 * np.median(latency):.0f} ms, p95 "
        f"{1e3 * np.percentile(latency, 95):.0f} ms",
        highlight=False,
    )
    _chemistry(run, particles, truth, console)
    ledger = run.metadata["stop"]["ledger"]
    console.print(f"ledger: {ledger}", highlight=False)
    with console.status("drawing the report"):
        picture = _picture(run, truth, final, work)
    console.print(f"report picture: {picture}", highlight=False)


def _chemistry(run: Any, particles: Any, truth: Any, console: Console) -> None:
    from ..config import load_settings
    from ..lab.evaluate.accuracy import score_chemistry

    if "spectra" not in run:
        return
    scores = score_chemistry(
        run["spectra"].read(), particles, truth, load_settings("sim_txm").xanes
    )
    table = Table(title="oxidised fraction and edge (eV)", title_justify="left")
    for name in ("particle", "fraction", "standard error", "truth", "edge - truth"):
        table.add_column(name, justify="right")
    for row in scores.to_dict("records"):
        table.add_row(
            str(row["particle"]),
            *(f"{row[name]:.3f}" for name in ("fraction", "fraction_sigma", "true_fraction")),
            f"{row['edge_error']:+.3f}",
        )
    console.print(table)


_COLUMNS = {
    "truth": "true particle",
    "radius": "radius",
    "instances": "seen in",
    "recall": "recall",
    "rms": "rms",
    "median": "median",
    "p95": "p95",
    "step": "step at edge",
    "switches": "switches",
}


def _table(final: Any) -> Table:
    table = Table(title="errors against the truth, px", title_justify="left")
    chosen = {key: name for key, name in _COLUMNS.items() if key in final.particles}
    for name in chosen.values():
        table.add_column(name, justify="right")
    for row in final.particles[list(chosen)].itertuples(index=False):
        table.add_row(*(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row))
    return table


def _picture(run: Any, truth: Any, final: Any, work: Path) -> Path:
    from ..config import load_settings
    from ..io.recording.reader import read_documents
    from ..lab.evaluate.report import ReportData, save_report
    from ..lab.evaluate.similarity import od_stack

    recorded = ((item.name, item.doc) for item in read_documents(work / "raw"))
    frames = run["frames"].read()
    # a row of the table is an image of the array; the last revision of a frame is its best
    newest = frames.reset_index(drop=True).groupby("frame")["revision"].idxmax()
    aligned = run["frames"]["aligned"]
    data = ReportData(
        raw=od_stack(recorded, load_settings("sim_txm")),
        aligned=np.stack([aligned[int(row)] for row in newest]),
        particles=run["particles"].read(),
        truth=truth,
        score=final,
        title=f"simulated electrode, {len(newest)} energies over the Ni K edge",
    )
    return save_report(data, work / "report.png")


def _how_to_read(tiled: Any, run: Any, console: Console) -> None:
    uid = run.metadata["start"]["uid"]
    console.print("\nRead it while the server runs (--keep):", style="bold")
    console.print(
        f"  from tiled.client import from_uri\n"
        f'  run = from_uri("{tiled.base_uri}", api_key="...")["{uid}"]\n'
        f'  run["particles"].read()       # table: one row per particle and frame\n'
        f'  run["frames"]["aligned"][-1]  # the newest aligned frame\n'
        f'  run["spectra"].read()         # table: one row per particle and energy\n'
        f'  run["maps"]["fraction"][-1]   # the newest map of a particle',
        highlight=False,
        markup=False,
    )


def _wait_for_interrupt() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
