"""Other ways to register frames and follow particles, to compare ours with.

Each has the settings with which it does best on the simulated scans (named in its file, with the
reason), and the true positions in the first frame: what is compared is registration, not
detection. None is part of the processor; they need ``pip install 'operando[bench]'``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pkgutil import resolve_name

from ....errors import ConfigError
from .interface import Peer, PeerResult, PeerStart

__all__ = ["PEERS", "Peer", "PeerResult", "PeerStart", "make_peer"]
_HERE = "operando.streamer.lab.bench.peers"
_PACKAGES = {"cv2": "opencv-python-headless", "pystackreg": "pystackreg", "trackpy": "trackpy"}
_LIBRARIES = {
    "sift_affine": "cv2",
    "stackreg_first": "pystackreg",
    "stackreg_previous": "pystackreg",
    "trackpy": "trackpy",
}

PEERS: dict[str, str] = {
    "absolute_template": f"{_HERE}.frames:absolute_phase",
    "absolute_correlation": f"{_HERE}.frames:absolute_correlation",
    "relative_template": f"{_HERE}.frames:relative_phase",
    "relative_correlation": f"{_HERE}.frames:relative_correlation",
    "sift_affine": f"{_HERE}.frames:sift_affine",
    "stackreg_first": f"{_HERE}.frames:stackreg_first",
    "stackreg_previous": f"{_HERE}.frames:stackreg_previous",
    "flow_tvl1": f"{_HERE}.frames:tvl1_absolute",
    "flow_ilk": f"{_HERE}.frames:ilk_accumulated",
    "roi_first": f"{_HERE}.frames:roi_first",
    "roi_previous": f"{_HERE}.frames:roi_previous",
    "trackpy": f"{_HERE}.locate:locate_and_link",
    "tvdm": f"{_HERE}.frames:tvdm",
}


def make_peer(name: str) -> Peer:
    """Import a peer.

    Parameters
    ----------
    name : one of :data:`PEERS`, or a dotted path ``module:function``.

    Raises
    ------
    ConfigError
        If there is none of that name, or the library it needs is not installed.
    """
    path = PEERS.get(name, name)
    if name not in PEERS and ":" not in name:
        raise ConfigError(f"peer: got {name!r}; choose one of {', '.join(PEERS)}, or module:name")
    library = _LIBRARIES.get(name)
    if library is not None and find_spec(library) is None:
        raise ConfigError(
            f"peer {name!r} needs {_PACKAGES[library]}, which is not installed; "
            "pip install 'operando[bench]'"
        )
    try:
        return resolve_name(path)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"peer {name!r}: {path!r} leads nowhere: {error}") from error
