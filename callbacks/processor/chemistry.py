"""Spectra and maps of the particles of runs that go on; a fault here costs no frame."""

from __future__ import annotations

from ...streamer.core import xanes
from ...streamer.core.results import FrameResult
from ...streamer.io.reference_files import load_references
from .run import RawRun

_FAILED = "xanes_failed"

_FULL = "xanes_memory_full"


class Chemistry:
    """Follows the spectra of particles over the frames of a run.

    Parameters
    ----------
    settings : of spectra and maps.

    Attributes
    ----------
    sha256 : hash of the references, "" without any.

    Raises
    ------
    ConfigError
        A reference cannot be used.
    """

    def __init__(self, settings: xanes.XanesSettings) -> None:
        references = load_references(settings)
        self.sha256 = xanes.digest(references)
        self._settings = settings
        self._basis = xanes.make_basis(settings, references)

    def update(self, run: RawRun, result: FrameResult) -> xanes.XanesUpdate:
        """Take a frame, or a revision of one, into account; return what it tells."""
        told = xanes.XanesUpdate()
        if not self._settings.enabled:
            return told
        full = run.xanes.full
        try:
            run.xanes, told = xanes.update(run.xanes, result, self._basis, self._settings)
        except Exception as error:  # noqa: BLE001 - the frame and its particles are told all the same
            self._failed(run, f"frame {result.frame} is not in the spectra", error)
        if run.xanes.full and not full:
            run.output.notice(_FULL)
            run.remarks.warn(_FULL, "xanes.memory_mb is used up: spectra and maps stop here")
        return told

    def revise(self, run: RawRun, result: FrameResult) -> None:
        """Take a revision of a frame into account and tell nothing yet."""
        if not self._settings.enabled:
            return
        try:
            run.xanes = xanes.revise(run.xanes, result, self._basis, self._settings)
        except Exception as error:  # noqa: BLE001 - what was added of the frame before stays
            self._failed(run, f"frame {result.frame} is not revised in the spectra", error)

    def finish(self, run: RawRun) -> None:
        """Tell all spectra and maps of a run that has stopped."""
        if not self._settings.enabled:
            return
        try:
            run.output.tell(xanes.finish(run.xanes, self._basis, self._settings))
        except Exception as error:  # noqa: BLE001 - the run must be closed all the same
            self._failed(run, "its spectra and maps are those told last", error)

    def _failed(self, run: RawRun, message: str, error: Exception) -> None:
        run.output.notice(_FAILED)
        run.remarks.warn("spectra failed", message, error)
