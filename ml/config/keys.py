"""Every key of the deployment file as Markdown: type, unit, default and meaning, from the sections and their docstrings.

Example: the types as they are written.
    >>> in_words(int | None), in_words(list[str]), in_words(dict[str, bool]), in_words(Literal["a", "b"])
    ('integer, or null', 'list: text', 'text → true or false', '`a` or `b`')
    >>> from pydantic import Field
    >>> in_words(Annotated[int, Field(ge=1, le=64)]), in_words(Annotated[float, Field(gt=0)])
    ('integer, 1 to 64', 'number, more than 0')
"""

from __future__ import annotations

import datetime as dt
import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

from ml.config.deployment import Config
from ml.config.thresholds import Expected, Limits, Threshold
from ml.errors import BadInput

PAGE = """\
# Keys of the deployment file

This page is the output of `python -m ml keys`. Loading a file fails on an unknown key, on a missing key without a default, and
on a value of another type or unit.

- *threshold*: `{value: 7, unit: days, reason: …}`, with the unit given here. The reason (8 characters or more) is for the
  person who wants to change the value.
- *name*: lower-case letters, digits and underscores, starting with a letter.
- *instant*: `2025-05-02T02:00:00Z`; without a zone it is UTC. *path*: relative to the project.
- `[]` stands for an entry of a list, `<name>` for a name of your own. `${NAME}` in the file is replaced by the environment
  variable, `$$` is a dollar sign.
- `extends: other.yaml` at the top level names another file, relative to this one; its sections are those that this file lacks.
"""
PLAIN: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    dt.date: "day",
    Any: "anything",
}


@dataclass(frozen=True)
class Key:
    """One key: its type with unit and limits, its default, and its meaning, each as text."""

    name: str
    expected: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Part:
    """A section of the file: its place, such as `gate.slices.by[]` (empty for the top level), its purpose, and its keys."""

    place: str
    purpose: str
    keys: tuple[Key, ...]


def page() -> str:
    """All keys as one Markdown page."""
    text = [PAGE]
    for part in parts():
        rows = [f"| `{k.name}` | {k.expected} | {k.default} | {k.meaning} |" for k in part.keys]
        table = ["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows]
        text.append("\n".join([f"## {part.place or 'Top level'}", "", part.purpose, "", *table, ""]))
    return "\n".join(text).rstrip()


def parts() -> Iterator[Part]:
    """All sections of the deployment file, each followed by those in it."""
    yield from _parts(Config, "", "")


def in_words(annotation: Any) -> str:
    """What a value of a type may be."""
    inner, metadata = _unwrapped(annotation)
    expected = next((each.text for each in metadata if isinstance(each, Expected)), None)
    if inner is Threshold:
        limits = [each.func for each in metadata if isinstance(each, AfterValidator) and isinstance(each.func, Limits)]
        return f"threshold: {expected or _within(limits[0])}"
    if expected:
        return expected
    if get_origin(inner) is Literal:
        return _one_of([f"`{value}`" for value in get_args(inner)])
    if _is_union(inner):
        options = list(dict.fromkeys(in_words(option) for option in get_args(inner) if option is not type(None)))
        return _one_of(options) + (", or null" if type(None) in get_args(inner) else "")
    if get_origin(inner) is list:
        return f"list: {in_words(get_args(inner)[0])}"
    if get_origin(inner) is dict:
        key, value = get_args(inner)
        return f"{in_words(key)} → {in_words(value)}"
    if inspect.isclass(inner) and issubclass(inner, BaseModel):
        return "section"
    if inner not in PLAIN:
        raise BadInput(f"{inner}: there are no words for this type; add them to ml.config.keys.PLAIN")
    return PLAIN[inner] + _bounds(metadata)


def _parts(section: type[BaseModel], place: str, kind: str) -> Iterator[Part]:
    hints = get_type_hints(section, include_extras=True)
    keys = tuple(
        Key(name, _cell(in_words(hints[name])), _cell(_default(field)), _cell(meaning(section, name)))
        for name, field in section.model_fields.items()
    )
    purpose = " ".join((inspect.getdoc(section) or "").partition("\nAttributes:")[0].split())
    yield Part(f"`{place}`{kind}" if place else "", purpose, keys)
    for name in section.model_fields:
        nested = list(_sections(hints[name], f"{place}.{name}".lstrip(".")))
        for inner, where in nested:
            yield from _parts(inner, where, f" ({inner.__name__})" if len(nested) > 1 else "")


def _sections(annotation: Any, place: str) -> Iterator[tuple[type[BaseModel], str]]:
    """The sections within a type, with their places."""
    inner, _ = _unwrapped(annotation)
    if get_origin(inner) is list:
        yield from _sections(get_args(inner)[0], f"{place}[]")
    elif get_origin(inner) is dict:
        yield from _sections(get_args(inner)[1], f"{place}.<name>")
    elif _is_union(inner):
        for option in get_args(inner):
            yield from _sections(option, place)
    elif inspect.isclass(inner) and issubclass(inner, BaseModel) and inner is not Threshold:
        yield inner, place


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """A type without `Annotated`, and all that is annotated."""
    metadata: list[Any] = []
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata += more
    return annotation, metadata


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _one_of(options: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(options[:-1]), options[-1]]))


def _within(limits: Limits) -> str:
    most = f"{limits.minimum:g} or more" if limits.maximum == float("inf") else f"{limits.minimum:g} to {limits.maximum:g}"
    return f"{limits.unit}, {most}"


def _bounds(metadata: list[Any]) -> str:
    """The limits of a number, as a text that follows its type."""
    found = [limit for each in metadata if isinstance(each, FieldInfo) for limit in each.metadata]
    least = next((limit.ge for limit in found if isinstance(limit, Ge)), None)
    above = next((limit.gt for limit in found if isinstance(limit, Gt)), None)
    most = next((limit.le for limit in found if isinstance(limit, Le)), None)
    if least is not None:
        return f", {least} to {most}" if most is not None else f", {least} or more"
    texts = [f"more than {above}" if above is not None else "", f"at most {most}" if most is not None else ""]
    return "".join(f", {text}" for text in texts if text)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Threshold):
        return f"{value.value:g} {value.unit}: {value.reason}"
    if isinstance(value, BaseModel):
        return "its defaults"
    plain = field.default_factory is None and not isinstance(value, list)
    return f"`{_yaml(value)}`" if plain else f"`{_yaml([_told(entry) for entry in value])}`"


def _told(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_unset=True) if isinstance(value, BaseModel) else value


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False).removesuffix("...\n").strip()


def meaning(section: type[BaseModel], name: str) -> str:
    """The entry of a key under `Attributes` in the docstring of its section, or of the section that it is inherited from.

    Raises:
        BadInput: no docstring has one.
    """
    for documented in section.__mro__:
        found = _attributes(inspect.cleandoc(documented.__dict__.get("__doc__") or "")).get(name)
        if found:
            return found
    raise BadInput(f"{section.__name__}.{name}: its docstring has no entry under Attributes; the page of keys needs one")


def _attributes(docstring: str) -> dict[str, str]:
    """The entries under `Attributes`, by name; `a, b: text` is an entry of both."""
    entries: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.partition("Attributes:\n")[2].splitlines():
        if not line.startswith("    "):
            break
        if not line.startswith("     "):
            head, _, line = line.partition(":")
            names = [name.strip() for name in head.split(",")]
            entries |= dict.fromkeys(names, "")
        entries |= {name: f"{entries[name]} {line.strip()}".strip() for name in names}
    return entries


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
