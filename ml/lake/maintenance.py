"""Few large files instead of many small ones, and no files that nobody will read again.

Small files are rewritten into large ones, which changes no row and forgets no batch. Files that were replaced are deleted,
except those of the versions that registered models and frozen training sets name, so that these can be rebuilt.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from deltalake import DeltaTable

from ml.config import Config
from ml.lake.tables import PROPERTIES, WRITER, Lake
from ml.registry.versions import Registry

SQLITE = "sqlite:///"
# Bytes. Delta Lake mixes the rows of the files that it puts together, so a reader of one day reads one file of this size whole:
# about two million payments.
TARGET_SIZE = 32 << 20


def kept_versions(config: Config) -> dict[str, set[int]]:
    """By table, the versions that a registered model or a frozen training set names.

    Raises:
        ValueError: a record of versions cannot be read; nothing is deleted then.
    """
    kept: dict[str, set[int]] = {}
    for where, versions in _named(config):
        if not isinstance(versions, Mapping) or not all(isinstance(version, int) for version in versions.values()):
            raise ValueError(f"{where}: lake versions are {versions!r}, expected a version by table; mend or remove the record")
        for table, version in versions.items():
            if version >= 0:
                kept.setdefault(str(table), set()).add(version)
    return kept


def _named(config: Config) -> Iterable[tuple[str, object]]:
    for file in sorted((config.home / "training_sets").glob("*.json")):
        yield str(file), json.loads(file.read_text())["lake"]
    if config.tracking.startswith(SQLITE) and not Path(config.tracking.removeprefix(SQLITE)).exists():
        return
    for version, tags in Registry(config.tracking, config.name).all_tags().items():
        if "lake_versions" in tags:
            yield f"{config.name} version {version}", _literal(tags["lake_versions"])


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def vacuum(lake: Lake, table: str, keep: Iterable[int]) -> int:
    """Delete the files that commits replaced, unless the newest or a kept version has them; returns their number.

    A file that no commit speaks of is left alone: it may be that of a writer who has not committed yet.
    """
    found = DeltaTable(lake.uri(table))
    newest = found.version()
    options = {
        "retention_hours": 0,
        "enforce_retention_duration": False,
        "keep_versions": sorted({newest, *(version for version in keep if version <= newest)}),
    }
    there = [name for name in found.vacuum(dry_run=True, **options) if (lake.root / table / name).exists()]
    if there:
        found.vacuum(dry_run=False, **options)
    return len(there)


def compact(lake: Lake, table: str) -> None:
    """Rewrite files that are smaller than `TARGET_SIZE` into larger ones."""
    found = DeltaTable(lake.uri(table))
    if any(found.metadata().configuration.get(name) != value for name, value in PROPERTIES.items()):
        found.alter.set_table_properties(PROPERTIES)
    if len(found.file_uris()) > 1:
        found.optimize.compact(target_size=TARGET_SIZE, writer_properties=WRITER)
