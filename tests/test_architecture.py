from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

TOP_LEVEL = {
    "pyproject.toml", "README.md", "streamer", "callbacks", "models", "tests", "profiles",
    "Makefile", "LICENSE", "CHANGELOG.md", "constraints.txt",
}  # fmt: skip


def tracked(repo_root):
    listing = subprocess.run(
        ["git", "ls-files"], cwd=repo_root, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    return listing.stdout.split()


def test_the_top_level_is_the_customers(repo_root):
    names = {path.split("/")[0] for path in tracked(repo_root)}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


def test_every_package_is_listed(repo_root):
    config = tomllib.loads((repo_root / "pyproject.toml").read_text())
    listed = set(config["tool"]["setuptools"]["packages"])
    found = {
        "operando." + init.parent.relative_to(repo_root).as_posix().replace("/", ".")
        for top in ("streamer", "callbacks", "models", "profiles")
        for init in (repo_root / top).rglob("__init__.py")
    }
    assert found == listed


@pytest.mark.parametrize(
    "module",
    [
        "operando.callbacks",
        "operando.callbacks.feedback",
        "operando.callbacks.publisher",
        "operando.streamer",
        "operando.models",
        "operando.streamer.cli",
    ],
)
def test_importing_it_does_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_files_are_short(repo_root):
    long = {
        path: count
        for path in tracked(repo_root)
        if path.endswith(".py") and path.split("/")[0] in ("streamer", "callbacks", "models")
        if (count := (repo_root / path).read_text().count("\n")) > 400
    }
    assert long == {}
