"""What the quarantine keeps of a row reads as the row that was delivered."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.config import Config
from ml.quality import content
from ml.quality.parse import parse
from ml.quality.values import ValueFault
from tests.deployments import small

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COUNTS = st.integers(-(2**62), 2**62)
TYPES = [
    (pa.string(), TEXT | st.sampled_from(["", " ", "1.5", "ten", "2025-03-10T10:00:00+02:00", "=1+1", "nan"])),
    (pa.large_string(), TEXT),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.timestamp("s"), st.integers(-(2**33), 2**33)),
    (pa.timestamp("us"), st.integers(-(2**52), 2**52)),
    (pa.timestamp("ns"), COUNTS),
    (pa.timestamp("us", "UTC"), st.integers(-(2**52), 2**52)),
    (pa.timestamp("ms", "Europe/Berlin"), st.integers(-(2**42), 2**42)),
    (pa.date32(), st.integers(-100_000, 100_000)),
    (pa.time64("us"), st.integers(0, 86_399_999_999)),
    (pa.duration("us"), COUNTS),
    (pa.binary(), st.binary(max_size=8)),
    (pa.decimal128(12, 2), st.decimals(-(10**9), 10**9, places=2)),
    (pa.list_(pa.int64()), st.lists(st.integers(-5, 5), max_size=3)),
    (pa.struct([("x", pa.int64())]), st.fixed_dictionaries({"x": st.integers(-5, 5)})),
    (pa.null(), st.none()),
]


@st.composite
def columns(draw: st.DrawFn, rows: int) -> pa.Array:
    kind, values = draw(st.sampled_from(TYPES))
    return pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)


@st.composite
def deliveries(draw: st.DrawFn, names: list[str]) -> pa.Table:
    rows = draw(st.integers(1, 5))
    return pa.table({name: draw(columns(rows)) for name in names})


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return small(tmp_path_factory.mktemp("content"))


@pytest.mark.parametrize("kind", ["events", "labels"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_row_reads_the_same_from_the_quarantine(config: Config, kind: str, data: st.DataObject) -> None:
    named = config.events.columns if kind == "events" else config.labels.columns
    delivered = data.draw(deliveries(list(named.values())))
    again = content.unpack(content.pack(delivered))
    first, faults = parse(delivered, config, kind)
    second, faults_again = parse(again, config, kind)
    assert second.equals(first)
    for name, found in faults.items():
        told, told_again = (_rows_with_a_fault(fault_list) for fault_list in (found, faults_again[name]))
        assert np.array_equal(told, told_again)


def _rows_with_a_fault(found: list[ValueFault]) -> np.ndarray:
    return np.logical_or.reduce([fault.rows for fault in found])


@settings(max_examples=100, deadline=None)
@given(delivered=deliveries(["a", "b"]))
def test_what_is_kept_is_strict_json(delivered: pa.Table) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    for told in content.pack(delivered):
        assert set(json.loads(told, parse_constant=refuse)) == {"a", "b"}


def test_a_person_can_read_the_values() -> None:
    row = {
        "amount": "ten",
        "paid_at": dt.datetime(2025, 3, 10, 12, tzinfo=dt.UTC),
        "price": decimal.Decimal("1.50"),
        "share": float("nan"),
    }
    (told,) = content.pack(pa.Table.from_pylist([row]))
    for value in ('"amount": "ten"', "2025-03-10 12:00:00", '"text": "1.50"', '"float": "nan"'):
        assert value in told


def test_a_line_that_could_not_be_cut_is_told_from_a_row(tmp_path: Path) -> None:
    assert content.line_of(content.pack_line('a,"b')) == 'a,"b'
    (row,) = content.pack(pa.table({"line": ["a"], "other": ["b"]}))
    assert content.line_of(row) is None
