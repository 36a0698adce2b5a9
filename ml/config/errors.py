"""Error messages about a deployment file: one line per key, and one line for all missing keys."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

UNWRITTEN = "unwritten"
"""Type of the Pydantic error for a text that is still TODO."""


def messages(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One line per error; missing keys share a line, and so do texts that are still TODO.

    Args:
        model: the model that the file was validated with.
    """
    errors = error.errors()
    grouped = {
        "required keys are missing": [_path(e["loc"]) for e in errors if e["type"] == "missing"],
        "a person has yet to write, in place of TODO": [_path(e["loc"]) for e in errors if e["type"] == UNWRITTEN],
    }
    lines = [f"{problem}: {', '.join(keys)}" for problem, keys in grouped.items() if keys]
    for e in errors:
        if e["type"] == "extra_forbidden":
            lines.append(f"{_path(e['loc'])}: {_unknown(model, e['loc'])}")
        elif e["type"] not in ("missing", UNWRITTEN):
            lines.append(f"{_path(e['loc']) or '(file)'}: {e['msg']}")
    return lines


def _path(loc: tuple[int | str, ...]) -> str:
    """The key in the file; a tag such as `<event>` says which model read the section."""
    return ".".join(str(part) for part in loc if not str(part).startswith("<"))


def _unknown(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    sections = [model]
    for part in loc[:-1]:
        nested = [section for parent in sections if part in parent.model_fields for section in _sections(parent, str(part))]
        sections = nested or sections
    keys = sorted({key for section in sections for key in section.model_fields})
    close = difflib.get_close_matches(str(loc[-1]), keys, 1)
    return f"unknown key; did you mean {close[0]!r}?" if close else f"unknown key; possible here: {', '.join(keys)}"


def _sections(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    return list(_models(model.model_fields[key].annotation))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
