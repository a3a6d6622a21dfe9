"""What the README files show is what there is."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import numpy as np
import pytest
from bluesky import RunEngine
from typer.main import get_command

from operando.callbacks import StreamProcessor
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.cli.app import app
from operando.streamer.config import load_settings
from operando.streamer.core.glossary import GLOSSARY, as_markdown
from operando.streamer.lab.simulate import SimSettings, simulate_documents

ROOT = Path(__file__).resolve().parents[1]
READMES = [ROOT / "README.md", *sorted((ROOT / "profiles").glob("*/README.md"))]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    """Fenced blocks of a language; "" are those without."""
    found = BLOCK.findall(path.read_text())
    return [textwrap.dedent(body) for _, kind, body in found if kind == language]


PYTHON = [(path.parent.name, text) for path in READMES for text in blocks(path, "python")]
COMMANDS = [
    line.partition("#")[0].strip()
    for path in READMES
    for kind in ("sh", "")
    for text in blocks(path, kind)
    for line in text.splitlines()
    if line.startswith("operando ")
]


def test_there_is_something_to_check():
    assert len(PYTHON) >= 3
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize(("where", "text"), PYTHON)
def test_python_compiles(where, text):
    compile(text, f"README of {where}", "exec")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_parse(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("scan_folder").mkdir()
    Path("scan.h5").touch()
    _, *arguments = shlex.split(command)
    parser = get_command(app)
    while hasattr(parser, "commands"):
        assert arguments[0] in parser.commands, command
        parser = parser.commands[arguments.pop(0)]
    with parser.make_context("operando", arguments) as context:  # raises on a wrong option
        profile = context.params.get("profile")
    if profile is not None:
        assert load_settings(profile).profile == profile


def test_variables_that_are_named_exist(monkeypatch):
    text = (ROOT / "README.md").read_text()
    variables = dict(re.findall(r"\b(OPERANDO_[A-Z]+__[A-Z_]+)=(\w+)", text))
    assert variables
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
        section, field = name.removeprefix("OPERANDO_").lower().split("__")
        assert str(getattr(getattr(load_settings(), section), field)).startswith(value)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_glossary_is_shown():
    assert as_markdown() in (ROOT / "README.md").read_text()
    names = [name for term in GLOSSARY for name in term.name.split(", ")]
    assert len(names) == len(set(names))


def test_the_callback_is_used_as_shown(tmp_path):
    (text,) = (t for t in blocks(ROOT / "README.md", "python") if "StreamProcessor(" in t)
    engine = RunEngine({}, call_returns_result=False)
    names = {"RE": engine}
    exec(text, names)
    names["processor"].close()
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()


@pytest.mark.system
def test_results_are_read_as_shown(tiled_server, monkeypatch):
    settings = SimSettings(
        shape=(160, 160), n_particles=3, radius_px=(12, 16), energies=(8350.0, 8352.0, 8354.0)
    )
    processor, sink = StreamProcessor("sim_txm"), TiledSink(tiled_server.uri)
    processor.subscribe(sink)
    processor.process(simulate_documents(settings))
    processor.close()
    assert sink.flush(60)
    sink.close()

    (text,) = (t for t in blocks(ROOT / "README.md", "python") if "from_uri" in t)
    monkeypatch.setenv("TILED_API_KEY", tiled_server.api_key)
    names = {}
    exec(text.replace("http://localhost:8000", tiled_server.base_uri), names)
    names["run"].context.close()
    assert len(names["particles"]) >= 3 * 2
    assert np.asarray(names["last"]).shape == (160, 160)
    assert np.asarray(names["roi"]).ndim == 2


def test_each_fault_of_the_table_is_shown_by_a_test():
    _, _, table = (ROOT / "README.md").read_text().partition("| fault | what happens | shown by |")
    rows = table.split("\n\n")[0].strip().splitlines()[1:]
    assert len(rows) > 15
    for row in rows:
        assert re.search(r"\[test_\w+\]\(tests/[\w/]+\.py\)", row), row
