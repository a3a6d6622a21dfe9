"""From the paths of documents to files that may be opened."""

from __future__ import annotations

import pytest

from operando.streamer.errors import AssetForbidden
from operando.streamer.io.assets import AssetSettings, PathPrefix
from operando.streamer.io.assets.settings import local_path, mapped, path_of


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file://localhost/data/a.h5", "/data/a.h5"),
        ("file:///data/a.h5", "/data/a.h5"),
        ("file:/data/a.h5", "/data/a.h5"),
        ("FILE://ioc1/data/a.h5", "/data/a.h5"),
        ("file://localhost//data/a.h5", "/data/a.h5"),
        ("file://localhost/data/a%20b%23.h5", "/data/a b#.h5"),
        ("/data/a b.h5", "/data/a b.h5"),
        ("//data/a.h5", "/data/a.h5"),
        ("C:\\data\\a.h5", "C:/data/a.h5"),
        ("file://localhost/C:/data/a.h5", "C:/data/a.h5"),
        ("relative/a.h5", "relative/a.h5"),
    ],
)
def test_forms_of_paths(uri, path):
    assert path_of(uri) == path


@pytest.mark.parametrize("uri", ["http://host/a.h5", "s3://bucket/a", "tiled://x"])
def test_addresses_of_something_else_than_files_are_refused(uri):
    with pytest.raises(AssetForbidden, match="should lie in a file"):
        path_of(uri)


def test_the_first_folder_of_the_map_that_fits_is_used_whole():
    settings = AssetSettings(
        path_map=(
            PathPrefix(ioc="/nsls2/data/fxi", local="/mnt/fxi/"),
            PathPrefix(ioc="/nsls2", local="/other"),
            PathPrefix(ioc="D:\\ioc", local="/mnt/d"),
        )
    )
    assert mapped("/nsls2/data/fxi/a.h5", settings) == "/mnt/fxi/a.h5"
    assert mapped("/nsls2/data/fxi2/a.h5", settings) == "/other/data/fxi2/a.h5"
    assert mapped("D:/ioc/a.h5", settings) == "/mnt/d/a.h5"
    assert mapped("/elsewhere/a.h5", settings) == "/elsewhere/a.h5"


@pytest.fixture
def roots(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "a.h5").write_bytes(b"x")
    (outside / "secret.h5").write_bytes(b"x")
    return inside, outside, AssetSettings(allowed_roots=(inside,))


def test_files_in_the_allowed_roots_are_found(roots):
    inside, _, settings = roots
    assert local_path(f"file://localhost{inside}/a.h5", settings) == inside / "a.h5"
    assert local_path(f"{inside}/../in/a.h5", settings) == inside / "a.h5"


def test_a_root_that_is_a_link_is_followed(roots, tmp_path):
    inside, *_ = roots
    (tmp_path / "mount").symlink_to(inside)
    settings = AssetSettings(allowed_roots=(tmp_path / "mount",))
    assert local_path(f"{tmp_path}/mount/a.h5", settings) == inside / "a.h5"


def test_without_roots_nothing_is_opened_and_the_setting_is_named(roots):
    inside, *_ = roots
    with pytest.raises(AssetForbidden, match=r"assets\.allowed_roots"):
        local_path(f"{inside}/a.h5", AssetSettings())
