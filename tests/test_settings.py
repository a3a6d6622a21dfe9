"""Every settings model refuses what it does not know, and says what each field means."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from pydantic import BaseModel

import operando.callbacks
import operando.models
import operando.streamer


def modules():
    for package in (operando.streamer, operando.callbacks, operando.models):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def models():
    found = {
        thing
        for module in modules()
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, BaseModel)
        if thing.__module__.startswith("operando.")
    }
    return sorted(found, key=lambda model: f"{model.__module__}.{model.__qualname__}")


def test_all_models_are_found_and_forbid_what_they_do_not_know():
    found = models()
    assert len(found) > 25
    assert [m for m in found if m.model_config.get("extra") != "forbid"] == []


def test_every_field_is_described():
    unsaid = [f"{m.__qualname__}.{name}" for m in models() for name, field in m.model_fields.items()
              if not field.description]  # fmt: skip
    assert unsaid == []


def test_a_misspelt_setting_is_refused():
    from operando.streamer.config import load_settings
    from operando.streamer.errors import ConfigError

    with pytest.raises(ConfigError, match="allowed_rots"):
        load_settings(None, {"assets": {"allowed_rots": ["/"]}})
