"""Publish every document, in a safe encoding, to the proxy that `operando process` listens to.

Copy into the profile's startup folder, behind the file that makes `RE`. OPERANDO_PROXY names the
in side of the proxy. It must not be the proxy of the plotter: that one carries pickles, and its
subscribers cannot read msgpack.
"""

import os
from functools import partial

import msgpack
import msgpack_numpy
from bluesky.callbacks.zmq import Publisher

try:
    from bluesky_queueserver import is_re_worker_active
except ImportError:

    def is_re_worker_active():
        """Without the queue server nothing is its worker."""
        return False


operando_publisher = Publisher(
    os.environ.get("OPERANDO_PROXY", "127.0.0.1:5577"),
    serializer=partial(msgpack.packb, default=msgpack_numpy.encode),
)

operando_token = RE.subscribe(operando_publisher)  # noqa: F821 (made by 00-base.py)


if not is_re_worker_active():
    # In the worker there is nobody to read it, and its output is the queue's log.
    print("operando: documents are published; RE.unsubscribe(operando_token) ends that")  # noqa: T201
