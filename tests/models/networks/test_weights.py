"""Weights on disk: nothing but what was written is ever believed."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch

from operando.models.networks import weights as module
from operando.models.networks.nets import UNet
from operando.models.networks.weights import SHIPPED, WeightsError, fetch, store

ABOUT = {"arguments": {"width": 2}, "scores": {"iou": 0.9}, "note": "ünï"}


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(0)
    made = UNet(2)
    made(torch.randn(2, 1, 32, 32))
    return made


@pytest.fixture
def file(tmp_path, network) -> Path:
    path = tmp_path / "some.safetensors"
    store(path, "dual_unet", network.state_dict(), ABOUT)
    return path


@pytest.fixture
def package(tmp_path, monkeypatch, network) -> Path:
    """A package folder with shipped weights of its own."""
    folder = tmp_path / "models" / "weights"
    folder.mkdir(parents=True)
    monkeypatch.setattr(module, "files", lambda _: tmp_path / "models")
    name = SHIPPED["dual_unet"]
    digest = store(folder / name, "dual_unet", network.state_dict(), ABOUT)
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  other\n{digest}  {name}\n")
    return folder


def test_what_was_stored_comes_back_rounded(file, network):
    found = fetch("dual_unet", file)
    assert found.network == "dual_unet"
    assert {k: found.about[k] for k in ABOUT} == ABOUT
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    for name, tensor in network.state_dict().items():
        assert found.tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-3, atol=1e-6)
    UNet(**found.about["arguments"]).load_state_dict(found.tensors)


def test_the_same_weights_make_the_same_file(tmp_path, network):
    digests = [store(tmp_path / n, "dual_unet", network.state_dict(), ABOUT) for n in "ab"]
    assert digests[0] == digests[1]


def test_values_beyond_float16_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="big has values beyond float16"):
        store(tmp_path / "x", "generator", {"big": torch.tensor([1e6])}, {})
    assert not (tmp_path / "x").exists()


def test_another_network_is_refused(file):
    with pytest.raises(WeightsError, match="weights of the generator, got those of 'dual_unet'"):
        fetch("generator", file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"cannot read .*nothing\.safetensors"):
        fetch("generator", tmp_path / "nothing.safetensors")


def test_shipped_weights_are_checked(package):
    assert fetch("dual_unet").about["scores"] == {"iou": 0.9}
    path = package / SHIPPED["dual_unet"]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"wanted sha256 .*, got .*; install the package again"):
        fetch("dual_unet")


def test_shipped_weights_without_a_checksum_are_refused(package):
    (package / "SHA256SUMS").write_text("")
    with pytest.raises(WeightsError, match="does not name"):
        fetch("dual_unet")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_shipped_weights_with_unreadable_checksums_are_refused(package, content):
    if content is None:
        (package / "SHA256SUMS").unlink()
    else:
        (package / "SHA256SUMS").write_bytes(content)
    with pytest.raises(WeightsError, match="SHA256SUMS"):
        fetch("dual_unet")


@pytest.mark.parametrize("about", [{}, {"arguments": [2]}, {"arguments": None}])
def test_weights_that_do_not_say_what_they_are_for_are_refused(tmp_path, network, about):
    store(tmp_path / "x", "dual_unet", network.state_dict(), about)
    with pytest.raises(WeightsError, match="arguments"):
        fetch("dual_unet", tmp_path / "x")


def test_weights_that_were_not_shipped_are_missed(package):
    with pytest.raises(WeightsError, match="weights of the generator: cannot read"):
        fetch("generator")


def _header(note: object) -> bytes:
    text = json.dumps(note).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        b"\xff" * 100,
        _header({}),
        _header([]),
        _header({"__metadata__": {"operando": "{"}}),
        _header({"__metadata__": {"operando": "[]"}}),
        _header({"__metadata__": {"operando": '"text"'}}),
        _header({"__metadata__": {"else": "1"}}),
    ],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        fetch("generator", path)


@pytest.mark.parametrize("length", [4, 50, 0.5, 0.99])
def test_cut_files_are_refused(file, length):
    content = file.read_bytes()
    file.write_bytes(content[: length if length >= 1 else int(length * len(content))])
    with pytest.raises(WeightsError):
        fetch("dual_unet", file)


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_nothing_is_unpickled(tmp_path, kind):
    sprung, path = tmp_path / "sprung", tmp_path / "x.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Trap(sprung)))
    else:
        torch.save({"weights": _Trap(sprung)}, path)
    with pytest.raises(WeightsError):
        fetch("generator", path)
    assert not sprung.exists()
