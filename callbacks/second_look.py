"""What is told once more when a run has stopped: its places, its spectra and its maps."""

from __future__ import annotations

import logging

from .chemistry import Chemistry
from .raw_run import RawRun
from .rescan import Rescan

logger = logging.getLogger(__name__)


def revise_run(run: RawRun, uid: str, rescan: Rescan, chemistry: Chemistry) -> None:
    """Revise all places, now that the scan is over; the values told so far stand if that fails.

    Spectra and maps are told after the last revision, of all of them.
    """
    if run.state is None:
        return
    revised = 0
    try:
        for state, result in rescan.results(uid, run.state):
            run.state = state
            run.output.emit(result, roi=state.roi)
            chemistry.revise(run, result)
            revised += 1
    except Exception as error:  # noqa: BLE001 - the run must be closed all the same
        run.remarks.warn("second looks failed", "the places were not revised", error)
        run.output.notice("whole_scan_failed")
    if revised:
        logger.info("run %s: %d frames revised in a second look at the scan", uid, revised)
    chemistry.finish(run)
