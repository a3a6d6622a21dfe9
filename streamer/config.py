"""Settings of the processor: a profile's operando.yml, then OPERANDO_*, then flags."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from ..models.settings import DetectSettings
from .core.advice.settings import AdviceSettings
from .core.assemble.settings import AssembleSettings
from .core.correct.settings import CorrectSettings
from .core.link.settings import LinkSettings
from .core.quality.settings import QualitySettings
from .core.register.settings import RegisterSettings
from .core.xanes.settings import XanesSettings
from .errors import ConfigError
from .io.assets.settings import AssetSettings
from .io.journal.writer import JournalSettings
from .io.tiled.settings import TiledSettings

# these decide the result; the others only where things lie and how fast they go
_RESULT_SECTIONS = (
    *("assemble", "quality", "correct", "detect", "link", "registration", "xanes", "advice"),
)


class ProcessSettings(BaseModel):
    """Device, threads, memory and disk of the processor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field(
        default="auto", description="where detection and resampling run: auto, cpu, cuda or cuda:N"
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="processor threads for detection and resampling; 0: half of the cores. More "
        "than are free makes it slower, as they wait for each other",
    )
    max_batch: int = Field(
        default=8, ge=1, description="frames detected as one batch when documents have queued up"
    )
    raw_memory_mb: float = Field(
        default=1024.0,
        gt=0,
        description="raw frames kept in memory for their final value, MB; as much again for the "
        "frames that are looked at again when the run has stopped",
    )
    raw_disk_gb: float = Field(
        default=50.0,
        gt=0,
        description="raw frames kept on disk beyond that, GB, and as much again likewise; past it "
        "the oldest lose their final value, which is told in the ledger, or their second look",
    )
    max_hold: int = Field(
        default=64,
        ge=0,
        description="final values wait for those of earlier frames (a flat that is missing) over "
        "at most this many frames",
    )
    sample_key: str = Field(
        default="sample",
        description="key of the start document that names the sample (keeps identities)",
    )
    max_samples: int = Field(
        default=8, ge=1, description="samples whose particles are remembered between their runs"
    )

    @property
    def thread_count(self) -> int:
        """Return the number of threads: those set, or half of the cores."""
        return self.threads or max(1, (os.cpu_count() or 2) // 2)


class Settings(BaseSettings):
    """All settings of the processor; every stage owns a section."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="OPERANDO_", env_nested_delimiter="__"
    )

    profile: str = Field(default="", description="name of the profile, told in the results")
    process: ProcessSettings = Field(default_factory=ProcessSettings)
    assemble: AssembleSettings = Field(default_factory=AssembleSettings)
    assets: AssetSettings = Field(default_factory=AssetSettings)
    quality: QualitySettings = Field(default_factory=QualitySettings)
    correct: CorrectSettings = Field(default_factory=CorrectSettings)
    detect: DetectSettings = Field(default_factory=DetectSettings)
    link: LinkSettings = Field(default_factory=LinkSettings)
    registration: RegisterSettings = Field(default_factory=RegisterSettings)
    xanes: XanesSettings = Field(
        default_factory=XanesSettings, description="spectra and maps of the particles"
    )
    advice: AdviceSettings = Field(
        default_factory=AdviceSettings,
        description="when somebody at the beamline is told something",
    )
    tiled: TiledSettings = Field(default_factory=TiledSettings)
    journal: JournalSettings = Field(default_factory=JournalSettings)

    @property
    def sha256(self) -> str:
        """Return the hash of the sections that decide the result, as hexadecimal text."""
        content = self.model_dump(mode="json")
        for place in ("folder", "references"):  # the content of these files counts, not their place
            del content["xanes"][place]
        chosen = {name: content[name] for name in _RESULT_SECTIONS}
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def profile_path(profile: str | Path) -> Path:
    """Find the folder of a profile: a path, or the name of one that is shipped.

    Raises
    ------
    ConfigError
        If neither exists.
    """
    path = Path(profile)
    if (path / "operando.yml").is_file():
        return path
    shipped = Path(str(files("operando.profiles")))
    if (shipped / path.name / "operando.yml").is_file() and path.name == str(profile):
        return shipped / path.name
    names = sorted(p.parent.name for p in shipped.glob("*/operando.yml"))
    raise ConfigError(
        f"no profile {str(profile)!r}: want a folder with an operando.yml or one of {names}"
    )


def load_settings(
    profile: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings of a profile.

    Parameters
    ----------
    profile : name of a shipped profile, a folder with an ``operando.yml``, a YAML file, or None
        for the defaults.
    overrides : nested settings that win over the file and the environment.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a setting is unknown or out of range; the message names
        each one.
    """
    content = _read_profile(profile) if profile is not None else {}
    content = _merge(content, dict(EnvSettingsSource(Settings)()))
    content = _merge(content, overrides or {})
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in e['loc'])}: {e['msg']} (got {e['input']!r})"
            for e in error.errors()
        ]
        where = f" of profile {profile}" if profile is not None else ""
        raise ConfigError("\n".join([f"these settings{where} cannot be used:", *lines])) from None


def _read_profile(profile: str | Path) -> dict[str, Any]:
    path = Path(profile)
    if not path.is_file():
        path = profile_path(profile) / "operando.yml"
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must be a mapping of sections, got {type(content).__name__}")
    name = path.parent.name if path.name == "operando.yml" else path.stem
    return _merge({"profile": name, "xanes": {"folder": str(path.parent)}}, content)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged
