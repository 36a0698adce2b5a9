"""The JSON Schema of the deployment file, with which editors complete keys and mark what cannot be loaded.

It says less than loading checks: units, bounds and what one key asks of another are left to `ml.config.load`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ml.config.deployment import EXTENDS, Config
from ml.config.keys import meaning
from ml.config.thresholds import Section

DIALECT = "https://json-schema.org/draft/2020-12/schema"
EXTENDED = {"type": "string", "description": "file, relative to this one, with the sections that this one lacks"}


def schema() -> dict[str, Any]:
    """The schema; each key carries its meaning, and a file that extends another one need not have all sections."""
    schema = Config.model_json_schema()
    classes = {each.__name__: each for each in _below(Section)}
    for name, section in {"Config": schema, **schema["$defs"]}.items():
        section["description"] = section.get("description", "").partition("\n\nAttributes:")[0]
        for key, value in section.get("properties", {}).items():
            value["description"] = meaning(classes[name], key)
    schema["properties"][EXTENDS] = EXTENDED
    schema["anyOf"] = [{"required": schema.pop("required")}, {"required": [EXTENDS]}]
    return {"$schema": DIALECT} | schema


def _below(section: type[Section]) -> Iterator[type[Section]]:
    for each in section.__subclasses__():
        yield each
        yield from _below(each)
