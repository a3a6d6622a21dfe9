"""Recordings out of data that people already have: .xrm folders, TIFF stacks, FXI HDF5."""

from .plan import Exposure, ImportPlan, ImportReport, Skipped
from .registry import (
    IMPORTERS,
    Importer,
    detect_importer,
    get_importer,
    import_documents,
    import_to_recording,
)

__all__ = [
    "IMPORTERS",
    "Exposure",
    "ImportPlan",
    "ImportReport",
    "Importer",
    "Skipped",
    "detect_importer",
    "get_importer",
    "import_documents",
    "import_to_recording",
]
