"""Settings of the assemble stage."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..frames import ChunkPolicy, Role


class StreamRoles(BaseModel):
    """Names of the document streams (case is ignored) that hold each kind of image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample: tuple[str, ...] = Field(default=("primary",), description="Streams of sample images.")
    flat: tuple[str, ...] = Field(
        default=("flat", "flat_field", "reference", "bkg"),
        description="Streams of images without the sample (open beam).",
    )
    dark: tuple[str, ...] = Field(
        default=("dark", "darks"), description="Streams of images without beam."
    )

    def role_of(self, stream: str) -> Role | None:
        """Return the role of a stream, None if its images are not wanted."""
        roles = {Role.SAMPLE: self.sample, Role.FLAT: self.flat, Role.DARK: self.dark}
        for role, names in roles.items():
            if stream.lower() in {n.lower() for n in names}:
                return role
        return None


class AssembleSettings(BaseModel):
    """Rules by which images, energies and exposures are found in a stream of documents."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_key: str | None = Field(
        default=None, description="Data key of the images. None: found from the descriptor."
    )
    energy_key: str | None = Field(
        default=None,
        description="Key of the photon energy in the event data, the configuration or the start "
        "document. None: found from names (energy, XEng, eng, mono) and units (eV, keV).",
    )
    energy_unit: Literal["auto", "eV", "keV"] = Field(
        default="auto",
        description="Unit of the energy in the documents. auto: from `units`, else values below "
        "1000 are keV (soft X-ray beamlines without units must say eV).",
    )
    energies_key: str | None = Field(
        default=None,
        description="Key of the start document with one energy per sample event, for scans whose "
        "events carry none. None: eng_list, energies or energy_list.",
    )
    exposure_key: str | None = Field(
        default=None,
        description="Key of the exposure time in the event data, the configuration or the start "
        "document, s (ms if its `units` say so). None: *_acquire_time, *exposure_time.",
    )
    role_key: str | None = Field(
        default=None,
        description="Event data key or start key that tells what an image shows: NeXus codes 0 "
        "(sample), 1 (flat), 2 (dark) or these words. None: the stream's name tells.",
    )
    streams: StreamRoles = Field(
        default=StreamRoles(), description="Which streams hold which images."
    )
    chunk: ChunkPolicy = Field(
        default="mean", description="Images of one event: averaged (mean) or kept apart (split)."
    )
    min_side: int = Field(
        default=8, ge=1, description="Arrays with a shorter side are not taken for images, px."
    )
    extra_kinds: tuple[str, ...] = Field(
        default=(),
        description="Specs or mimetypes that `assets.readers` adds to the built-in ones.",
    )
    fly_period: float | None = Field(
        default=None,
        gt=0,
        description="Time between frames of a fly scan without events, s. None: the exposure, "
        "else 1 s.",
    )
    max_held: int = Field(
        default=10_000,
        ge=1,
        description="Frames of a stream that wait for their event (and its energy), count.",
    )
    stale_run_s: float | None = Field(
        default=1800.0,
        gt=0,
        description="A run without a stop document is ended at the stop of a run with images that "
        "began after its last document, if that stop is later than that document by more than "
        "this in the times of the documents, s. None: only when the service ends.",
    )
    max_datum_frames: int = Field(
        default=100_000, ge=1, description="Most events that one stream_datum may announce, count."
    )
