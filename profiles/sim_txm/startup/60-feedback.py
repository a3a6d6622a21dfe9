"""Feedback to the stage.

Nothing listens or moves before it is called for::

follow()  # what `operando process --publish 127.0.0.1:5587` says, through a second proxy
RE(measure())  # small test moves: how does the image follow the stage?
RE(xanes(before=loop.recentre))  # the field is brought back before each energy
"""

import os
from functools import partial

from operando.callbacks.feedback import HoldOnAdvice, LatestResults, Recentring, ResultListener
from operando.streamer.lab.simulate.plans import measure_matrix

latest = LatestResults()
hold = HoldOnAdvice()
# `stage` and `beamline` come from 10-devices.py
loop = Recentring(latest, (stage.y, stage.x))  # noqa: F821
measure = partial(measure_matrix, beamline, loop)  # noqa: F821


def follow(address: str = os.environ.get("OPERANDO_RESULTS", "127.0.0.1:5588")) -> ResultListener:
    """Listen to results, and hold the RunEngine while they say so; `close` the listener to end."""
    listener = ResultListener(address, latest, hold)
    listener.open()
    RE.install_suspender(hold.suspender())  # noqa: F821
    return listener
