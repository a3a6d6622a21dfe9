"""Names and fields of the classes in a checkpoint, so that it outlives changes of the program.

A class has a tag, which is its name when it got into a checkpoint first. Classes are found by
following the types of fields, beginning at the `ProcessorState`. A test compares what
`Schema.describe` returns with what it returned when the version was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cached_property
from types import UnionType
from typing import Any, TypeGuard, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import BaseModel

from ...core.advice import Kind
from ...core.assemble.state import RunState as AssembledRun
from ...core.run import ProcessorState, RunLengths
from ...errors import CheckpointError


@dataclass(frozen=True)
class Schema:
    """Classes that a checkpoint may hold.

    Attributes
    ----------
    version : raise it whenever what was written before can no longer be read as what it was; older
        checkpoints are then refused.
    roots : classes whose fields lead to all others.
    tags : tags of classes whose name is not unique.
    renamed : tag of a class now, by its tag in checkpoints that were written before.
    added : value of each field that the classes have got since `version`, by tag and field, in
        checkpoints that were written before.
    """

    version: int
    roots: tuple[type, ...]
    tags: Mapping[type, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def classes(self) -> dict[str, type]:
        """Return dataclasses, enumerations and settings by tag.

        Raises
        ------
        TypeError
            Two of them have the same tag.
        """
        found: dict[str, type] = {}
        waiting: list[Any] = list(self.roots)
        while waiting:
            hint = waiting.pop()
            if not _is_ours(hint):
                waiting += get_args(hint)
                continue
            tag = self.tags.get(hint, hint.__name__)
            if tag not in found and is_dataclass(hint):
                waiting += get_type_hints(hint).values()
            if found.setdefault(tag, hint) is not hint:
                raise TypeError(f"two classes are called {tag}: name one of them in `tags`")
        return found

    def tag_of(self, cls: type, where: str) -> str:
        """Return the tag of a class.

        Raises
        ------
        CheckpointError
            No field leads to it; `where` is the place at which it was met all the same.
        """
        tag = self.tags.get(cls, cls.__name__)
        if self.classes.get(tag) is not cls:
            raise CheckpointError(
                f"{where} is a {cls.__qualname__}, which a checkpoint cannot hold: make it a "
                "frozen dataclass of arrays and plain values that the type of a field names"
            )
        return tag

    def class_of(self, tag: str, kind: type | None = None) -> Any:
        """Return the class with a tag, which may be one that it had before.

        Raises
        ------
        CheckpointError
            There is none, or it is no `kind`.
        """
        cls = self.classes.get(self.renamed.get(tag, tag))
        if cls is None or not (is_dataclass(cls) if kind is None else issubclass(cls, kind)):
            raise CheckpointError(f"the checkpoint holds a {tag}, which this version does not know")
        return cls

    def make(self, tag: str, values: dict[str, Any]) -> Any:
        """Build a dataclass.

        Raises
        ------
        CheckpointError
            It has other fields in this version, and `added` does not say what they were.
        """
        cls = self.class_of(tag)
        values = {**self.added.get(self.renamed.get(tag, tag), {}), **values}
        odd = values.keys() ^ {item.name for item in fields(cls)}
        if odd:
            raise CheckpointError(f"{tag} has other fields now: {', '.join(sorted(odd))}")
        return cls(**values)

    def describe(self) -> dict[str, dict[str, str]]:
        """Return the fields of each class with their types, or the members of an enumeration."""
        return {tag: self._fields(self.classes[tag]) for tag in sorted(self.classes)}

    def _fields(self, cls: type) -> dict[str, str]:
        if issubclass(cls, Enum):
            return dict.fromkeys(cls.__members__, "member")
        if issubclass(cls, BaseModel):  # written as JSON, which pydantic checks
            return {}
        return {name: self._spell(hint) for name, hint in get_type_hints(cls).items()}

    def _spell(self, hint: Any) -> str:
        if _is_ours(hint):
            return self.tags.get(hint, hint.__name__)
        origin, args = get_origin(hint), [self._spell(arg) for arg in get_args(hint)]
        if origin in (UnionType, Union):
            return " | ".join(args)
        if origin in (np.ndarray, np.dtype):  # the shape is not part of the type
            return args[-1]
        name = "..." if hint is ... else getattr(origin or hint, "__name__", repr(hint))
        return f"{name}[{', '.join(args)}]" if args else name


def _is_ours(hint: Any) -> TypeGuard[type]:
    return isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, (Enum, BaseModel)))


SCHEMA = Schema(
    version=3,
    roots=(ProcessorState, RunLengths, Kind),
    tags={AssembledRun: "AssembledRun"},
)
