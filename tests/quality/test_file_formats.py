"""Files of any format: what is delivered is read as it is, and a file that cannot be read says why, alone."""

from __future__ import annotations

import datetime as dt
import decimal
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml.config import Config, load
from ml.quality import content, formats, landing
from ml.quality.formats import Unreadable, read_as
from ml.quality.parse import parse
from tests.deployments import raw as demo
from tests.deployments import small, write


def _csv(told: str | bytes) -> list[dict[str, Any]]:
    return read_as("a.csv", told.encode() if isinstance(told, str) else told).table.to_pylist()


def _parquet(table: pa.Table) -> formats.Raw:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return read_as("a.parquet", sink.getvalue())


def test_only_an_empty_field_without_quotes_is_missing() -> None:
    told = _csv('a,b\nNA,null\nnan,None\n,""\nN/A,#N/A\n')
    assert told == [{"a": "NA", "b": "null"}, {"a": "nan", "b": "None"}, {"a": None, "b": ""}, {"a": "N/A", "b": "#N/A"}]


@pytest.mark.parametrize(
    "told",
    [
        b"\xef\xbb\xbfa,b\n1,x\n2,y\n",
        b"a,b\r\n1,x\r\n2,y\r\n",
        b"a,b\r1,x\r2,y\r",
        b'"a","b"\n"1","x"\n"2","y"\n',
        b"a,b\n\n1,x\n\n2,y\n\n",
    ],
)
def test_byte_order_marks_line_ends_and_quotes_are_no_part_of_the_values(told: bytes) -> None:
    assert _csv(told) == [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]


def test_a_quoted_value_holds_line_ends_quotes_and_commas() -> None:
    assert _csv('a,"b\nc"\n1,"x\r\ny"\n2,"say ""no"", twice"\n') == [
        {"a": "1", "b\nc": "x\r\ny"},
        {"a": "2", "b\nc": 'say "no", twice'},
    ]


@pytest.mark.parametrize("told", ['a,b\n1,x\n2,"y\n3,z\n', 'a,b\n1,x\n2,"y', 'a\n1\n"2\n3\n'])
def test_a_quote_that_is_never_closed_stops_the_file_that_it_would_swallow(told: str) -> None:
    with pytest.raises(Unreadable, match="never closed, so data row 2 swallows the rest"):
        _csv(told)


@pytest.mark.parametrize("told", ['a,b\n1,"x\n2,y\n3,"z\n4,w\n', 'a,b\n1,"x"y\n2,"u\nv"\n'])
def test_a_quote_that_closes_in_another_row_stops_the_file(told: str) -> None:
    with pytest.raises(Unreadable, match="a quote"):
        _csv(told)


@pytest.mark.parametrize(
    ("told", "unterminated"),
    [("a,b\n1,x\n2,F", 2), ("a,b\n1,x\n2,", 2), ("a,b\n1,x\n2,y\n", None), ("a,b\n1,x\n2", None), ("a,b\n1,x\n2,y\r", None)],
)
def test_the_row_in_which_a_file_ends_without_a_newline_is_known(told: str, unterminated: int | None) -> None:
    assert read_as("a.csv", told.encode()).unterminated == unterminated


@pytest.mark.parametrize(("suffix", "codec"), [*formats.CODECS.items(), (".GZ", "gzip")])
def test_packed_csv_is_read_and_its_checksum_says_that_it_is_whole(suffix: str, codec: str) -> None:
    packed = _packed(b"a,b\n1,x\n2,y", codec)
    raw = read_as(f"payments.csv{suffix}", packed)
    assert (raw.table.to_pydict(), raw.unterminated) == ({"a": ["1", "2"], "b": ["x", "y"]}, None)
    with pytest.raises(Unreadable, match="not readable as csv"):
        read_as(f"payments.csv{suffix}", packed[:-3])


def test_what_was_packed_to_fill_the_memory_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "ALWAYS", 10_000)
    bomb = _packed(b"a,b\n" + b"0,0\n" * 1_000_000, "gzip")
    with pytest.raises(Unreadable, match="unpack to more than"):
        read_as("payments.csv.gz", bomb)


def _packed(told: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(told)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.csv", b""),
        ("a.csv", b"\n\n"),
        ("a.csv", b"a,b"),
        ("a.csv", "a,b\n1,é\n".encode("latin1")),
        ("a.csv", "a,b\n1,2\n".encode("utf-16")),
        ("a.csv", b"a,a\n1,2\n"),
        ("a.csv.gz", b"a,b\n1,2\n"),
        ("a.parquet", b"PAR1"),
        ("a.parquet", b"PAR1" + b"\xff" * 64 + b"PAR1"),
        ("a.parquet", b"PARE" + b"\x10" * 64 + b"PARE"),
        ("a.parquet", b"a,b\n1,2\n"),
        ("a.txt", b"a,b\n1,2\n"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_unreadable_in_words(name: str, told: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        read_as(name, told)
    assert str(caught.value)


ODD: dict[str, pa.Array] = {
    "string_view": pa.array(["a", None, "b"], pa.string_view()),
    "large_string": pa.array(["a", None, "b"], pa.large_string()),
    "binary_view": pa.array([b"a", None, b"\xff"], pa.binary_view()),
    "dictionary": pa.array(["a", None, "a"]).dictionary_encode(),
    "numbers in a dictionary": pa.array([1.5, None, 1.5]).dictionary_encode(),
    "decimal32": pa.array([decimal.Decimal("1.5"), None, decimal.Decimal(2)], pa.decimal32(5, 2)),
    "decimal128": pa.array([decimal.Decimal("1.5"), None, decimal.Decimal(2)], pa.decimal128(12, 2)),
    "decimal256": pa.array([decimal.Decimal("1.5"), None, decimal.Decimal(10**50)], pa.decimal256(60, 2)),
    "float16": pa.array([np.float16(1.5), None, np.float16("nan")], pa.float16()),
    "duration": pa.array([1, None, 2], pa.duration("ns")),
    "time32": pa.array([1, None, 2], pa.time32("s")),
    "date64": pa.array([dt.date(2025, 3, 10), None, dt.date(2025, 3, 11)], pa.date64()),
    "timestamp": pa.array([2**50, None, 1], pa.timestamp("s")),
    "zone that is none": pa.array([1, None, 2], pa.timestamp("us", "Mars/Phobos")),
    "list": pa.array([[1], None, []]),
    "views in a list": pa.array([["a"], None, []], pa.list_(pa.string_view())),
    "dictionary in a list": pa.array([["a"], None, []], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    "struct": pa.array([{"x": 1}, None, {"x": 2}]),
    "map": pa.array([[("x", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "uuid": pa.array([b"0" * 16, None, b"1" * 16], pa.uuid()),
    "json": pa.array(['{"x": 1}', None, "[]"], pa.json_()),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None, 0], pa.int8())),
    "fixed binary": pa.array([b"ab", None, b"\xff\xfe"], pa.binary(2)),
    "null": pa.nulls(3),
    "bool": pa.array([True, None, False]),
    "uint64": pa.array([2**64 - 1, None, 0], pa.uint64()),
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return small(tmp_path_factory.mktemp("formats"))


@pytest.mark.parametrize("kind", ODD)
def test_every_type_that_a_file_can_have_is_read_or_set_aside_and_kept(config: Config, kind: str) -> None:
    raw = _parquet(pa.table(dict.fromkeys(config.events.columns.values(), ODD[kind])))
    read, faults = parse(raw.table, config, "events")
    for name, found in faults.items():
        assert read[name][1].as_py() is None
        assert not any(fault.rows[1] for fault in found), "a missing value is no fault"
        if kind != "float16":  # its third value is NaN, which is missing
            there = [read[name][row].as_py() is not None or any(fault.rows[row] for fault in found) for row in (0, 2)]
            assert all(there) or kind == "null"
    kept = content.unpack(content.pack(raw.table, [2, 0]))
    again, _ = parse(kept, config, "events")
    assert again.equals(read.take(pa.array([2, 0])))


def test_a_uuid_is_its_text() -> None:
    assert _parquet(pa.table({"a": ODD["uuid"]})).table["a"].to_pylist()[0] == "30303030-3030-3030-3030-303030303030"


def test_a_column_that_cannot_be_decoded_is_named() -> None:
    not_utf8 = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    missing_list = pa.array([None], pa.list_(pa.int64(), 2))  # which the reader of Parquet refuses to read
    for broken in (not_utf8, missing_list):
        with pytest.raises(Unreadable, match="column 'b'"):
            _parquet(pa.table({"a": ["x"], "b": broken}))


WALL = st.integers(631_152_000 * 10**6, 1_924_905_600 * 10**6)  # microseconds since 1970, of the years 1990 to 2030
FREE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
TEXT = FREE | st.sampled_from(["NA", "null", "nan", "", " x ", "a,b", 'say "no"', "x\ny", "x\r\ny", "1001.0", "007", "é"])
KEY = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2000)
DELIVERED: dict[str, list[tuple[pa.DataType, st.SearchStrategy[Any]]]] = {
    "payment_id": [(pa.string(), TEXT), (pa.int64(), KEY), (pa.float64(), st.integers(-(10**9), 10**9).map(float))],
    "paid_at": [
        (pa.timestamp("us"), WALL),
        (pa.timestamp("ns"), WALL.map(lambda count: 1000 * count)),
        (pa.timestamp("s"), WALL.map(lambda count: count // 10**6)),
        (pa.timestamp("us", "UTC"), WALL),
        (pa.timestamp("ms", "Asia/Kolkata"), WALL.map(lambda count: count // 1000)),
        (pa.date32(), st.dates(dt.date(1990, 1, 1), dt.date(2030, 12, 31))),
    ],
    "amount": [
        (pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
        (pa.float32(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.decimal128(20, 3), st.decimals(-(10**12), 10**12, places=3)),
        (pa.string(), TEXT | st.floats().map(repr)),
    ],
    "country": [(pa.string(), TEXT), (pa.large_string(), TEXT), (pa.int16(), st.integers(0, 999)), (pa.bool_(), st.booleans())],
}


@st.composite
def deliveries(draw: st.DrawFn, names: list[str]) -> pa.Table:
    rows = draw(st.integers(1, 6))
    columns = {}
    for name in names:
        kind, told = draw(st.sampled_from(DELIVERED.get(name, DELIVERED["country"])))
        columns[name] = pa.array(draw(st.lists(st.none() | told, min_size=rows, max_size=rows)), kind)
    return pa.table(columns)


def _as_csv(table: pa.Table, mark: bool, crlf: bool) -> bytes:
    sink = io.BytesIO()
    pa.csv.write_csv(table, sink)
    told = sink.getvalue()
    if crlf and b"\n" not in b"".join(str(row).encode() for row in table.to_pylist()):
        told = told.replace(b"\n", b"\r\n") if told.count(b"\n") == table.num_rows + 1 else told
    return b"\xef\xbb\xbf" * mark + told


@pytest.fixture(scope="module")
def in_zones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Config]:
    told = demo()
    made = {}
    for zone in ("UTC", "Europe/Berlin", "America/New_York"):
        told["events"]["timezone"] = zone
        made[zone] = load(write(tmp_path_factory.mktemp("zone"), told))
    return made


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.data(), zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]), mark=st.booleans(), crlf=st.booleans()
)
def test_the_same_rows_read_the_same_as_csv_and_as_parquet(
    in_zones: dict[str, Config], data: st.DataObject, zone: str, mark: bool, crlf: bool
) -> None:
    config = in_zones[zone]
    delivered = data.draw(deliveries(list(config.events.columns.values())))
    typed, faults = parse(_parquet(delivered).table, config, "events")
    text, faults_of_text = parse(read_as("a.csv", _as_csv(delivered, mark, crlf)).table, config, "events")
    assert text.equals(typed)
    for name, found in faults.items():
        told, told_of_text = (np.logical_or.reduce([f.rows for f in column]) for column in (found, faults_of_text[name]))
        assert np.array_equal(told, told_of_text)


def test_files_of_a_landing_folder_are_read_or_named(config: Config, tmp_path: Path) -> None:
    config = config.model_copy(update={"home": tmp_path})
    config.landing.mkdir()
    for name in (
        "payments_1.csv.gz",
        "payments_2.CSV",
        "payments_3.Parquet",
        "payments_4.txt",
        "payments_9",
        ".payments_5.csv",
    ):
        (config.landing / name).write_text("x")
    for name in ("Payments_6.csv", "notes.txt", "fraud_reports_1.xlsx", "payments_10.parquet.gz", "payments_11.pq"):
        (config.landing / name).write_text("x")
    (config.landing / "payments_7.csv").mkdir()
    (config.landing / "payments_8.csv").symlink_to(tmp_path / "elsewhere.csv")
    found = [file.name for file in landing.find_files(config)]
    assert found == ["payments_1.csv.gz", "payments_10.parquet.gz", "payments_11.pq", "payments_2.CSV", "payments_3.Parquet"]
    told = {sentence.split(" is not read: ")[0]: sentence for sentence in landing.ignored_files(config)}
    assert sorted(told) == sorted(
        [
            *("payments_4.txt", "payments_9", "Payments_6.csv", "fraud_reports_1.xlsx"),
            *("payments_7.csv", "payments_8.csv"),
        ]
    )
    assert "folder" in told["payments_7.csv"]
    assert "link" in told["payments_8.csv"]
    assert "capitals" in told["Payments_6.csv"]


def test_a_pattern_that_names_its_ending_says_which_files_miss_it(config: Config, tmp_path: Path) -> None:
    events = config.events.model_copy(update={"files": "payments_*.csv"})
    config = config.model_copy(update={"home": tmp_path, "events": events})
    config.landing.mkdir()
    for name in ("payments_1.csv", "payments_2.csv.gz", "payments_3.CSV", "payments_4.parquet"):
        (config.landing / name).write_text("x")
    assert [file.name for file in landing.find_files(config)] == ["payments_1.csv"]
    told = landing.ignored_files(config)
    assert [sentence.split(" ")[0] for sentence in told] == ["payments_2.csv.gz", "payments_3.CSV"]
