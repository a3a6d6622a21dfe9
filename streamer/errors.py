"""Exceptions of operando.

::

    OperandoError
    ├── ConfigError          a profile, setting or flag cannot be used
    ├── WireError            a message from the network cannot be decoded
    ├── RecordingError       a recording cannot be read or written
    ├── ImportDataError      a file of somebody's data cannot be imported
    ├── AssetError           pixels that a document points to cannot be had
    │   ├── AssetForbidden   the path lies outside the allowed roots
    │   ├── AssetMissing     no such file or dataset
    │   ├── AssetLocked      another process holds the file
    │   └── AssetNotReady    announced, but not (yet) flushed to the file
    ├── FrameError           pixels that cannot be used: wrong shape, dtype, all NaN
    ├── TrainingError        a training cannot be started, resumed or brought to an end
    ├── JournalError         the journal of received documents cannot be written or read
    ├── CheckpointError      a checkpoint cannot be written, or is not one of this version
    ├── FeedbackError        a stage cannot be moved by what the images show
    └── SinkError            results cannot be delivered

Messages say what was wanted, what was got, and the remedy. ``reason`` is the short, stable word
under which the ledger counts the frame.
"""

from __future__ import annotations


class OperandoError(Exception):
    """Base of all errors that operando raises on purpose."""

    reason: str = "error"


class ConfigError(OperandoError):
    """A profile, setting or flag cannot be used."""

    reason = "config"


class WireError(OperandoError):
    """A message from the network cannot be decoded."""

    reason = "wire"


class RecordingError(OperandoError):
    """A recording cannot be read or written."""

    reason = "recording"


class ImportDataError(OperandoError):
    """A file of somebody's data cannot be imported."""

    reason = "import"


class AssetError(OperandoError):
    """Pixels that a document points to cannot be had."""

    reason = "asset"


class AssetForbidden(AssetError):
    """The path lies outside the allowed roots."""

    reason = "forbidden_path"


class AssetMissing(AssetError):
    """No such file or dataset."""

    reason = "missing_file"


class AssetLocked(AssetError):
    """Another process holds the file."""

    reason = "locked_file"


class AssetNotReady(AssetError):
    """The frame was announced, but is not flushed to the file."""

    reason = "not_flushed"


class FrameError(OperandoError):
    """Pixels that cannot be used."""

    reason = "bad_frame"


class TrainingError(OperandoError):
    """A training cannot be started, resumed or brought to an end."""

    reason = "training"


class JournalError(OperandoError):
    """The journal of received documents cannot be written or read."""

    reason = "journal"


class CheckpointError(OperandoError):
    """A checkpoint cannot be written, or is not one of this version."""

    reason = "checkpoint"


class FeedbackError(OperandoError):
    """A stage cannot be moved by what the images show."""

    reason = "feedback"


class SinkError(OperandoError):
    """Results cannot be delivered."""

    reason = "sink"
