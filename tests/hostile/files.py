"""Files that documents should not point to, or that are not what they claim to be."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile

from operando.streamer.core.frames import AssetRef
from operando.streamer.errors import AssetError, AssetForbidden

from .messages import Bomb

HDF5, TIFF, NPY = "application/x-hdf5", "image/tiff", "application/x-npy"
TIFFS, NPYS = f"multipart/related;type={TIFF}", f"multipart/related;type={NPY}"
STACK = np.arange(3 * 40 * 40, dtype=np.uint16).reshape(3, 40, 40)


@dataclass(frozen=True)
class Place:
    """Folders of a test.

    Attributes
    ----------
    inside : the only folder that may be read. outside : holds readable images that must not be.
    canary : what a payload would create.
    """

    inside: Path
    outside: Path
    canary: Path

    @classmethod
    def make(cls, folder: Path) -> Place:
        """Folders with images on both sides."""
        place = cls(folder / "in", folder / "out", folder / "canary")
        for side in (place.inside, place.outside):
            side.mkdir(parents=True)
            with h5py.File(side / "a.h5", "w") as file:
                file["d"] = STACK
            tifffile.imwrite(side / "a_0.tif", STACK[0])
            np.save(side / "a.npy", STACK)
            (side / "raw").write_bytes(STACK.tobytes())
        return place


@dataclass(frozen=True)
class Asset:
    """Where a document says that pixels are.

    Attributes
    ----------
    name : of the case. error : what reading it raises.
    uri : with ``{inside}`` and ``{outside}``. make : puts files there.
    """

    name: str
    error: type[AssetError]
    uri: str
    make: Callable[[Place], object] = lambda _place: None
    kind: str = HDF5
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"dataset": "d"})

    def resource(self, place: Place) -> dict[str, Any]:
        """Kind, address and parameters, after the files were made."""
        self.make(place)
        uri = self.uri.replace("{inside}", str(place.inside))
        uri = uri.replace("{outside}", str(place.outside))
        return {"mimetype": self.kind, "uri": uri, "parameters": dict(self.parameters)}

    def reference(self, place: Place, number: int = 0) -> AssetRef:
        """Reference to the first image."""
        made = self.resource(place)
        return AssetRef(
            kind=made["mimetype"], uri=made["uri"], parameters=made["parameters"],
            start=0, stop=1, run="run", resource=f"{self.name}{number}",
        )  # fmt: skip


def _link(name: str, target: str) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        (place.inside / name).symlink_to(place.outside / target)

    return make


OUTSIDE = [
    Asset("another folder", AssetForbidden, "file://localhost{outside}/a.h5"),
    Asset("dots", AssetForbidden, "file://localhost{inside}/../out/a.h5"),
    Asset("dots in the middle", AssetForbidden, "file://localhost{inside}/x/../../out/a.h5"),
    Asset("encoded dots", AssetForbidden, "file://localhost{inside}/%2e%2e/out/a.h5"),
    Asset("encoded slashes", AssetForbidden, "file://localhost{inside}%2f..%2Fout%2fa.h5"),
    Asset("dots encoded twice", AssetError, "file://localhost{inside}/%252e%252e/out/a.h5"),
    Asset("backslashes", AssetForbidden, "file://localhost{inside}\\..\\out\\a.h5"),
    Asset("host that is a folder", AssetForbidden, "file://out/a.h5"),
    Asset("another host", AssetForbidden, "file://evil.example/etc/passwd"),
    Asset("a NUL", AssetForbidden, "{inside}/a.h5\0.h5"),
    Asset("an encoded NUL", AssetForbidden, "file://localhost{inside}/a.h5%00"),
    Asset("a NUL in the middle", AssetForbidden, "{inside}\0/../out/a.h5"),
    Asset("a folder of a like name", AssetForbidden, "{inside}2/a.h5"),
    Asset("a relative path", AssetForbidden, "in/a.h5"),
    Asset("a drive", AssetForbidden, "C:/data/a.h5"),
    Asset("a share", AssetForbidden, "\\\\server\\share\\a.h5"),
    Asset("nothing", AssetForbidden, ""),
    Asset("a web address", AssetForbidden, "http://127.0.0.1:9/a.h5"),
    Asset("an object store", AssetForbidden, "s3://bucket/a.h5"),
    Asset("an address of h5py's drivers", AssetForbidden, "ros3://127.0.0.1/a.h5"),
    Asset("the password file", AssetForbidden, "/etc/passwd"),
    Asset("memory of a process", AssetForbidden, "/proc/self/mem"),
    Asset("a device", AssetForbidden, "/dev/zero"),
    Asset("a link to a file", AssetForbidden, "{inside}/l.h5", _link("l.h5", "a.h5")),
    Asset("a link to a folder", AssetForbidden, "{inside}/f/a.h5", _link("f", ".")),
    Asset("a link to a device", AssetForbidden, "{inside}/z.h5",
          lambda place: (place.inside / "z.h5").symlink_to("/dev/zero")),
    Asset("a path of 100 kB", AssetError, "{inside}/" + "x" * 100_000),
    Asset("a template with dots", AssetForbidden, "{inside}/", kind=TIFFS,
          parameters={"template": "../out/a_{:d}.tif"}),
    Asset("a file name with dots", AssetForbidden, "{inside}/", kind=TIFFS,
          parameters={"template": "%s%s_%d.tif", "filename": "../out/a"}),
    Asset("an absolute template", AssetError, "{inside}/", kind=TIFFS,
          parameters={"template": "/etc/passwd{:d}"}),
    Asset("a template with attributes", AssetError, "{inside}/", kind=TIFFS,
          parameters={"template": "{0.__class__.__init__.__globals__}.tif"}),
    Asset("a template of a gigabyte", AssetError, "{inside}/", kind=TIFFS,
          parameters={"template": "a_%01000000000d.tif"}),
]  # fmt: skip


def _hdf5(make: Callable[[h5py.File, Place], object]) -> Callable[[Place], None]:
    def write(place: Place) -> None:
        with h5py.File(place.inside / "x.h5", "w", libver="latest") as file:
            make(file, place)

    return write


def _virtual(file: h5py.File, source: str, name: str = "d") -> None:
    layout = h5py.VirtualLayout((3, 40, 40), "u2")
    layout[:] = h5py.VirtualSource(source, name, (3, 40, 40))
    file.create_virtual_dataset("d" if source != "." else "twice", layout)


def _virtual_twice(file: h5py.File, place: Place) -> None:
    _virtual(file, str(place.outside / "a.h5"))
    _virtual(file, ".", "d")


def _pattern(file: h5py.File, place: Place) -> None:
    endless = h5py.h5s.UNLIMITED
    space = h5py.h5s.create_simple((3, 40, 40), (endless, 40, 40))
    space.select_hyperslab((0, 0, 0), (endless, 1, 1), stride=(1, 1, 1), block=(1, 40, 40))
    source = h5py.h5s.create_simple((1, 40, 40))
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_virtual(space, str(place.outside / "a%b.h5").encode(), b"d", source)
    whole = h5py.h5s.create_simple((3, 40, 40), (endless, 40, 40))
    h5py.h5d.create(file.id, b"d", h5py.h5t.NATIVE_UINT16, whole, plist)


def _many_sources(file: h5py.File, place: Place) -> None:
    layout = h5py.VirtualLayout((300, 4, 4), "u2")
    for i in range(300):
        layout[i] = h5py.VirtualSource(f"none{i}.h5", "d", (4, 4))
    file.create_virtual_dataset("d", layout)


def _external(file: h5py.File, place: Place) -> None:
    raw = [(str(place.outside / "raw"), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset("d", (3, 40, 40), "u2", external=raw)


def _unknown_filter(file: h5py.File, _place: Place) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, 40, 40))
    plist.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((3, 40, 40))
    dataset = h5py.h5d.create(file.id, b"d", h5py.h5t.NATIVE_UINT16, space, plist)
    # a chunk that says it went through that filter
    dataset.write_direct_chunk((0, 0, 0), STACK[0].tobytes(), 0)


def _broken_deflate(file: h5py.File, _place: Place) -> None:
    data = file.create_dataset("d", (3, 40, 40), "u2", chunks=(1, 40, 40), compression="gzip")
    data.id.write_direct_chunk((0, 0, 0), zlib.compress(STACK[0].tobytes())[:-30] + b"\xff" * 30)


def _huge(file: h5py.File, _place: Place) -> None:
    file.create_dataset("d", (1, 2**20, 2**20), "u2", chunks=(1, 2**10, 2**10), compression="gzip")


def _giant_chunk(file: h5py.File, _place: Place) -> None:
    """One compressed block of 3.2 GB, of which one image is wanted."""
    file.create_dataset("d", (2**20, 40, 40), "u2", chunks=(2**20, 40, 40), compression="gzip")


def _circles(file: h5py.File, _place: Place) -> None:
    file["d"], file["x"] = h5py.SoftLink("/x"), h5py.SoftLink("/d")


def _circle_of_files(file: h5py.File, _place: Place) -> None:
    file["d"] = h5py.ExternalLink("x.h5", "/d")


def _itself(file: h5py.File, _place: Place) -> None:
    layout = h5py.VirtualLayout((3, 40, 40), "u2")
    layout[:] = h5py.VirtualSource(".", "d", (3, 40, 40))
    file.create_virtual_dataset("d", layout)


def _kinds(dtype: Any) -> Callable[[h5py.File, Place], object]:
    return lambda file, _place: file.create_dataset("d", (3, 40, 40), dtype)


def _x(name: str, error: type[AssetError], make: Callable[..., object], **more: Any) -> Asset:
    return Asset(f"HDF5: {name}", error, "{inside}/x.h5", _hdf5(make), **more)


def _linked(make: Callable[[Place], str], path: str = "/d") -> Callable[[h5py.File, Place], None]:
    def write(file: h5py.File, place: Place) -> None:
        file["d"] = h5py.ExternalLink(make(place), path)

    return write


HDF5S = [
    _x("link to a file outside", AssetForbidden, _linked(lambda p: str(p.outside / "a.h5"))),
    _x("relative link outside", AssetForbidden, _linked(lambda _p: "../out/a.h5")),
    _x("link to the password file", AssetForbidden, _linked(lambda _p: "/etc/passwd")),
    _x("group that is a link outside", AssetForbidden,
       _linked(lambda p: str(p.outside / "a.h5"), "/"), parameters={"dataset": "d/d"}),
    _x("soft link to a link outside", AssetForbidden,
       lambda file, place: (_linked(lambda p: str(p.outside / "a.h5"))(file, place),
                            file.__setitem__("soft", h5py.SoftLink("/d"))),
       parameters={"dataset": "soft"}),
    _x("virtual dataset over a file outside", AssetForbidden,
       lambda file, place: _virtual(file, str(place.outside / "a.h5"))),
    _x("virtual dataset over a virtual one", AssetForbidden, _virtual_twice,
       parameters={"dataset": "twice"}),
    _x("virtual dataset over a pattern of names", AssetForbidden, _pattern),
    _x("virtual dataset over itself", AssetError, _itself),
    _x("virtual dataset over 300 files", AssetError, _many_sources),
    _x("raw storage outside", AssetForbidden, _external),
    _x("links in circles", AssetError, _circles),
    _x("links in circles over files", AssetError, _circle_of_files),
    _x("filter that nobody has", AssetError, _unknown_filter),
    _x("broken compression", AssetError, _broken_deflate),
    _x("image of 2 TB", AssetError, _huge),
    _x("block of 3 GB", AssetError, _giant_chunk),
    _x("texts", AssetError, _kinds(h5py.string_dtype())),
    _x("references", AssetError, _kinds(h5py.ref_dtype)),
    _x("arrays of any length", AssetError, _kinds(h5py.vlen_dtype(np.int32))),
    _x("records", AssetError, _kinds([("a", "u2"), ("b", "f8")])),
    _x("complex numbers", AssetError, _kinds("c8")),
    _x("opaque bytes", AssetError, _kinds("V8")),
    _x("one axis", AssetError, lambda file, _p: file.create_dataset("d", (9,), "u2")),
    _x("32 axes", AssetError, lambda file, _p: file.create_dataset("d", (1,) * 32, "u2")),
    _x("nothing in it", AssetError, lambda file, _p: file.create_dataset("d", (3, 0, 0), "u2")),
    _x("null space", AssetError, lambda file, _p: file.create_dataset("d", None, "u2")),
    _x("a name with a NUL", AssetError, lambda file, _p: None, parameters={"dataset": "d\0e"}),
    _x("a name with dots", AssetError, lambda file, _p: None,
       parameters={"dataset": "../../etc/passwd"}),
    _x("a name that is a list", AssetError, lambda file, _p: None, parameters={"dataset": [1]}),
]  # fmt: skip


def _bytes(name: str, content: bytes) -> Callable[[Place], int]:
    return lambda place: (place.inside / name).write_bytes(content)


def _tiff(width: int, height: int, **tags: int) -> bytes:
    """A TIFF that claims a size and has 8 bytes of data."""
    entries = {
        256: width, 257: height, 258: 16, 259: tags.get("compression", 1), 262: 1,
        273: tags.get("offset", 8), 277: 1, 278: height, 279: tags.get("count", 8),
    }  # fmt: skip
    directory = struct.pack("<H", len(entries))
    for tag, value in entries.items():
        directory += struct.pack("<HHII", tag, 4, 1, value)
    at = 16
    return (
        b"II*\0"
        + struct.pack("<I", at)
        + bytes(8)
        + directory
        + struct.pack("<I", tags.get("next", 0))
    )


def _npy(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def _sized(*shape: int) -> bytes:
    """An NPY header of float64 of a shape, and 128 bytes."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n"
    return _npy(text.encode(), bytes(128))


def _pickled(place: Place) -> None:
    array = np.empty((1, 1, 1), object)
    array[0, 0, 0] = Bomb(place.canary)
    np.save(place.inside / "p.npy", array, allow_pickle=True)


def _grown(place: Place) -> None:
    """A file that is 1 TB long and takes no room."""
    with (place.inside / "s.npy").open("wb") as file:
        file.write(_sized(1, 370_000, 370_000))
        file.truncate(2**40)


def _fifo(place: Place) -> None:
    os.mkfifo(place.inside / "pipe")


_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_CODE = b"__import__('os').mkdir('/tmp/operando-canary-that-nobody-makes')\n"
OTHERS = [
    Asset("a pipe", AssetError, "{inside}/pipe", _fifo),
    Asset("a pipe as TIFF", AssetError, "{inside}/pipe", _fifo, TIFF),
    Asset("a folder", AssetError, "{inside}/sub", lambda p: (p.inside / "sub").mkdir()),
    Asset("an empty file", AssetError, "{inside}/e", _bytes("e", b"")),
    Asset("noise as HDF5", AssetError, "{inside}/n", _bytes("n", _HDF5_MAGIC + b"\xff" * 999)),
    Asset("noise as TIFF", AssetError, "{inside}/n", _bytes("n", b"II*\0" + b"\xff" * 999), TIFF),
    Asset("noise as NPY", AssetError, "{inside}/n", _bytes("n", b"\x93NUMPY" + b"\xff" * 999), NPY),
    Asset("a ZIP as NPY", AssetError, "{inside}/n", _bytes("n", b"PK\3\4" + b"\0" * 99), NPY),
    Asset("a pickle as NPY", AssetError, "{inside}/n", _bytes("n", b"\x80\x04K\x01."), NPY),
    Asset("TIFF of 2 TB", AssetError, "{inside}/t", _bytes("t", _tiff(2**20, 2**20)), TIFF),
    Asset("TIFF of 2 TB, deflated", AssetError, "{inside}/t",
          _bytes("t", _tiff(2**20, 2**20, compression=8)), TIFF),
    Asset("TIFF whose data are elsewhere", AssetError, "{inside}/t",
          _bytes("t", _tiff(40, 40, offset=2**31, count=3200)), TIFF),
    Asset("TIFF whose pages go round", AssetError, "{inside}/t",
          _bytes("t", _tiff(0, 0, next=16)), TIFF),
    Asset("TIFF of no width", AssetError, "{inside}/t", _bytes("t", _tiff(0, 40)), TIFF),
    Asset("TIFF of unknown compression", AssetError, "{inside}/t",
          _bytes("t", _tiff(40, 40, compression=60000)), TIFF),
    Asset("a pickle in NPY", AssetError, "{inside}/p.npy", _pickled, NPY),
    Asset("NPY of 1 TB that takes no room", AssetError, "{inside}/s.npy", _grown, NPY),
    Asset("NPY whose header is code", AssetError, "{inside}/n",
          _bytes("n", _npy(_CODE)), NPY),
    Asset("NPY whose header is deep", AssetError, "{inside}/n",
          _bytes("n", _npy(b"[" * 9000 + b"\n")), NPY),
    Asset("NPY of 1 EB", AssetError, "{inside}/n",
          _bytes("n", _sized(1, 2**32, 2**25)), NPY),
    Asset("NPY of negative size", AssetError, "{inside}/n",
          _bytes("n", _sized(-1, 4, 4)), NPY),
    Asset("NPY of records", AssetError, "{inside}/r.npy",
          lambda p: np.save(p.inside / "r.npy", np.zeros((1, 4, 4), "u2,f8")), NPY),
]  # fmt: skip

ASSETS = [*OUTSIDE, *HDF5S, *OTHERS]
