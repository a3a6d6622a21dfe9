"""Publish every document to the 0MQ proxy: all that `operando process` needs of a beamline."""

import os
from functools import partial

import msgpack
import msgpack_numpy
from bluesky.callbacks.zmq import Publisher

publisher = Publisher(
    os.environ.get("OPERANDO_PROXY", "127.0.0.1:5577"),
    serializer=partial(msgpack.packb, default=msgpack_numpy.encode),
)
RE.subscribe(publisher)  # noqa: F821 (made by 00-base.py)
