"""Every settings model refuses what it does not know, and says what each field means."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Literal, get_args, get_origin

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


def speaks_for_itself(field):
    """Whether a field is a section with a docstring, or a word that tells models apart."""
    kind = field.annotation
    if get_origin(kind) is Literal:
        return len(get_args(kind)) == 1
    return isinstance(kind, type) and issubclass(kind, BaseModel) and bool(kind.__doc__)


def test_every_field_is_described():
    unsaid = [
        f"{model.__qualname__}.{name}"
        for model in models()
        for name, field in model.model_fields.items()
        if not field.description and not speaks_for_itself(field)
    ]
    assert unsaid == []


def test_a_misspelt_setting_is_refused():
    from operando.streamer.config import load_settings
    from operando.streamer.errors import ConfigError

    with pytest.raises(ConfigError, match="allowed_rots"):
        load_settings(None, {"assets": {"allowed_rots": ["/"]}})
