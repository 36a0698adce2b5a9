"""Maintenance of Delta tables: merges small files, and deletes replaced files.

Merging changes no row and keeps the transaction identifiers of batches. Replaced files are deleted, except those of versions
that registered models and frozen training sets name, so that these can be rebuilt.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from deltalake import DeltaTable

from ml import artifacts
from ml.config import Config
from ml.errors import BadInput
from ml.lake.tables import PROPERTIES, WRITER, Lake
from ml.registry.versions import Registry

SQLITE = "sqlite:///"
TRAINING_SETS = "training_sets"
"""Kind of artifact whose records name versions."""
# Bytes. Delta Lake mixes the rows of merged files, so a reader of one day reads a complete file of this size: about two million
# payments.
TARGET_SIZE = 32 << 20


def kept_versions(config: Config) -> dict[str, set[int]]:
    """By table, the versions that a registered model or a frozen training set names.

    Raises:
        ValueError: a record of versions cannot be read; nothing is deleted then.
    """
    kept: dict[str, set[int]] = {}
    for source, versions in _named(config):
        if not isinstance(versions, Mapping) or not all(isinstance(version, int) for version in versions.values()):
            raise BadInput(f"{source}: lake versions are {versions!r}, expected a version by table; mend or remove the record")
        for table, version in versions.items():
            if version >= 0:
                kept.setdefault(str(table), set()).add(version)
    return kept


def _named(config: Config) -> Iterable[tuple[str, object]]:
    store = artifacts.of(config)
    for key in store.list(TRAINING_SETS):
        if key.endswith(".json"):
            yield f"training set {key}", json.loads(store.get(TRAINING_SETS, key).read_text())["lake"]
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
    """Delete replaced files, except those of the newest and the kept versions; returns their number.

    A file that no commit names is kept: it may belong to a writer that has not committed yet.
    """
    delta = _opened(lake, table)
    newest = delta.version()
    options = {
        "retention_hours": 0,
        "enforce_retention_duration": False,
        "keep_versions": sorted({newest, *(version for version in keep if version <= newest)}),
    }
    deletable = [name for name in delta.vacuum(dry_run=True, **options) if lake.root.has(f"{table}/{name}")]
    if deletable:
        delta.vacuum(dry_run=False, **options)
    return len(deletable)


def compact(lake: Lake, table: str) -> None:
    """Rewrite files that are smaller than `TARGET_SIZE` into larger ones."""
    delta = _opened(lake, table)
    if any(delta.metadata().configuration.get(name) != value for name, value in PROPERTIES.items()):
        delta.alter.set_table_properties(PROPERTIES)
    if len(delta.file_uris()) > 1:
        delta.optimize.compact(target_size=TARGET_SIZE, writer_properties=WRITER)


def _opened(lake: Lake, table: str) -> DeltaTable:
    return DeltaTable(lake.uri(table), storage_options=lake.root.options)
