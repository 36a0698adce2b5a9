"""Tables of the ledger, made from the records that they hold, and the triggers that keep their rows as they are."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from ml.ledger.words import VOCABULARIES, table_of


class Instant(sa.TypeDecorator[dt.datetime]):
    """An aware UTC instant. SQLite keeps no zone, so it is put in UTC on the way in and given back on the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> dt.datetime:
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dt.datetime:
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class Json(sa.TypeDecorator[Mapping[str, Any]]):
    """A mapping as JSON text with sorted keys."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:
        return json.dumps(value, sort_keys=True)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Mapping[str, Any] | None:
        return None if value is None else json.loads(value)


class Member(sa.sql.functions.GenericFunction[str]):
    """A member of a mapping that is kept as JSON text, as JSON text; null where there is none. `Member(column, name)`."""

    type = sa.Text()
    inherit_cache = True


@compiles(Member, "sqlite")
def _member_in_sqlite(element: Member, compiler: Any, **options: Any) -> str:
    column, name = element.clauses
    return f"json_extract({compiler.process(column, **options)}, '$.' || {compiler.process(name, **options)})"


@compiles(Member, "postgresql")
def _member_in_postgresql(element: Member, compiler: Any, **options: Any) -> str:
    column, name = element.clauses
    return f"(CAST({compiler.process(column, **options)} AS json) ->> {compiler.process(name, **options)})"


metadata = sa.MetaData(naming_convention={"fk": "%(table_name)s_%(column_0_name)s_is_known", "ck": "%(constraint_name)s"})
TYPES: dict[Any, Any] = {
    str: sa.Text,
    int: sa.BigInteger,
    float: sa.Float,
    bool: sa.Boolean,
    dt.datetime: Instant,
    dt.date: sa.Date,
    Mapping: Json,
}

for name, words in VOCABULARIES.items():
    vocabulary = sa.Table(name, metadata, sa.Column("word", sa.Text, primary_key=True))
    rows = ", ".join(f"('{word}')" for word in get_args(words))
    sa.event.listen(vocabulary, "after_create", sa.DDL(f"INSERT INTO {name} (word) VALUES {rows}"))


def table(
    name: str,
    record: type,
    *keys: Sequence[str],
    more: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    refers: Mapping[str, str] | None = None,
    rules: Sequence[sa.CheckConstraint] = (),
    where: Mapping[tuple[str, ...], str] | None = None,
) -> sa.Table:
    """The table of a record: a column for each field, and `recorded_at`, the wall clock of the database.

    Parameters:
        record: a dataclass of texts, numbers, dates, aware instants, mappings (kept as JSON) and literal words (kept as
            references to the table of their vocabulary); what may be None may be null.
        keys: columns whose values are together unique. The first is the primary key; without a column `id` in it, and unless
            the record has one, nothing else counts the rows.
        more: further columns and their types.
        without: fields that are no columns.
        refers: the column, as `table.column`, that a column refers to.
        where: condition under which alone a key is unique, by key.
    """
    hints = get_type_hints(record)
    columns = {field.name: hints[field.name] for field in fields(record) if field.name not in (*without, "recorded_at")}
    columns |= more or {}
    primary, *unique = keys
    if primary == ("id",):
        columns = {"id": int} | columns
    made = sa.Table(
        name,
        metadata,
        *[_column(column, hint, column in primary, (refers or {}).get(column)) for column, hint in columns.items()],
        sa.Column("recorded_at", Instant, nullable=False, server_default=sa.func.current_timestamp()),
        *rules,
    )
    for key in unique:
        _unique(made, tuple(key), (where or {}).get(tuple(key)))
    conditions = [(key, (where or {}).get(tuple(key))) for key in keys]
    same = " OR ".join(f"({_same(made, key, condition)})" for key, condition in conditions)
    for dialect in ("sqlite", "postgresql"):
        for statement in append_only(name, same, dialect):
            sa.event.listen(made, "after_create", sa.DDL(statement.replace("%", "%%")).execute_if(dialect=dialect))
    return made


def _column(name: str, hint: Any, is_primary: bool, refers: str | None) -> sa.Column[Any]:
    nullable = get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)
    if nullable:
        (hint,) = set(get_args(hint)) - {NoneType}
    kind = sa.Text if get_origin(hint) is Literal else TYPES[get_origin(hint) or hint]
    if get_origin(hint) is Literal:
        refers = f"{table_of(hint)}.word"
    if name == "id":
        return sa.Column("id", sa.Integer, primary_key=True)
    reference = [sa.ForeignKey(refers)] if refers else []
    return sa.Column(name, kind, *reference, primary_key=is_primary, nullable=nullable, autoincrement=False)


def _unique(made: sa.Table, key: tuple[str, ...], where: str | None) -> None:
    """A unique index; nothing is a value like others in it."""
    columns = [sa.func.coalesce(made.c[name], "") if made.c[name].nullable else made.c[name] for name in key]
    condition = sa.text(where) if where else None
    sa.Index(f"{made.name}_once", *columns, unique=True, sqlite_where=condition, postgresql_where=condition)


def _same(made: sa.Table, key: Sequence[str], where: str | None) -> str:
    equal = " AND ".join(f'"{name}" {"IS" if made.c[name].nullable else "="} NEW."{name}"' for name in key)
    return f"{equal} AND {where} AND NEW.{where}" if where else equal


def append_only(name: str, same: str, dialect: str) -> list[str]:
    """Statements that make the database refuse to change a table.

    Parameters:
        same: SQL condition on a stored row that the row NEW would replace.
    """
    refusal = f"{name} is append-only: add a row instead"
    if dialect == "postgresql":
        return [
            f"CREATE FUNCTION {name}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{refusal}' USING ERRCODE = 'restrict_violation'; END $$",
            f"CREATE TRIGGER {name}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {name} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {name}_append_only()",
        ]
    # SQLite's INSERT OR REPLACE deletes the old row without firing its DELETE trigger.
    return [
        *[
            f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            for verb in ("UPDATE", "DELETE")
        ],
        f"CREATE TRIGGER {name}_no_replace BEFORE INSERT ON {name} "
        f"WHEN EXISTS (SELECT 1 FROM {name} WHERE {same}) BEGIN SELECT RAISE(ABORT, '{refusal}'); END",
    ]
