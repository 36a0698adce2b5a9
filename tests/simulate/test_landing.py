import datetime as dt
import hashlib
import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.clock import last_written_day
from ml.simulate import landing as landing_module
from ml.simulate.drift import FeedFault, LabelFault, NewScenario
from ml.simulate.landing import PAYMENTS_SCHEMA, replay_days, write_days
from ml.simulate.stream import PAYMENT_COLUMNS, REPORT_COLUMNS, PaymentStream

FIRST = dt.date(2025, 1, 1)
DRIFT = (
    NewScenario(day=dt.date(2025, 1, 10), customers=0.01),
    FeedFault(day=dt.date(2025, 1, 15), days=1, kind="nulls", column="amount"),
    FeedFault(day=dt.date(2025, 1, 16), days=1, kind="half_volume"),
    FeedFault(day=dt.date(2025, 1, 17), days=1, kind="doubled"),
    FeedFault(day=dt.date(2025, 1, 18), days=1, kind="cents"),
    FeedFault(day=dt.date(2025, 1, 19), days=1, kind="nulls", column="country", share=1.0),
    LabelFault(day=dt.date(2025, 1, 8), days=3, kind="slow", factor=2),
    LabelFault(day=dt.date(2025, 1, 12), days=5, kind="stopped"),
)


def day(offset: int) -> dt.date:
    return FIRST + dt.timedelta(days=offset)


@cache
def stream() -> PaymentStream:
    return PaymentStream(300, 600, 7, FIRST, DRIFT)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@cache
def digests_at_once(file_format: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        write_days(stream(), Path(folder), day(0), day(39), file_format)
        return digests(Path(folder))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("landing")
    write_days(stream(), folder, day(0), day(29))
    return folder


# Simulated days


@settings(max_examples=6, deadline=None)
@given(cuts=st.sets(st.integers(1, 39), max_size=3), file_format=st.sampled_from(["parquet", "csv"]))
def test_files_have_the_same_bytes_whatever_the_cut(cuts, file_format):
    edges = [0, *sorted(cuts), 40]
    with tempfile.TemporaryDirectory() as folder:
        for a, b in pairwise(edges):
            write_days(stream(), Path(folder), day(a), day(b - 1), file_format)
        assert digests(Path(folder)) == digests_at_once(file_format)


def test_another_seed_writes_other_bytes(tmp_path):
    write_days(PaymentStream(300, 600, 8, FIRST, DRIFT), tmp_path, day(0), day(0))
    name = f"payments_{FIRST}.parquet"
    assert digests(tmp_path)[name] != digests_at_once("parquet")[name]


def test_each_day_has_its_reports_and_then_its_payments(tmp_path):
    seen = []
    paths = write_days(stream(), tmp_path, day(3), day(4), "csv", seen.append)
    assert [path.name for path in paths] == [
        "fraud_reports_2025-01-04.csv",
        "payments_2025-01-04.csv",
        "fraud_reports_2025-01-05.csv",
        "payments_2025-01-05.csv",
    ]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert seen == [day(3), day(4)]


def test_payments_files_have_the_schema_of_the_feed_and_not_the_truth(written):
    for i in range(30):
        file = pq.ParquetFile(written / f"payments_{day(i)}.parquet")
        assert file.schema_arrow == PAYMENTS_SCHEMA
        assert file.schema_arrow.metadata is None
    assert PAYMENTS_SCHEMA.names == list(PAYMENT_COLUMNS)
    assert PAYMENTS_SCHEMA.field("paid_at").type == pa.timestamp("us")


def test_payments_files_hold_the_payments_of_their_day(written):
    expected = stream().payments(day(0), day(13))[list(PAYMENT_COLUMNS)]
    found = [pq.read_table(written / f"payments_{day(i)}.parquet").to_pandas() for i in range(14)]
    assert all((f["paid_at"].dt.date == day(i)).all() for i, f in enumerate(found))
    pd.testing.assert_frame_equal(pd.concat(found, ignore_index=True), expected)


def test_csv_and_parquet_hold_the_same(tmp_path, written):
    write_days(stream(), tmp_path, day(14), day(14), "csv")
    csv = pd.read_csv(tmp_path / f"payments_{day(14)}.csv", parse_dates=["paid_at"])
    parquet = pd.read_parquet(written / f"payments_{day(14)}.parquet")
    pd.testing.assert_frame_equal(csv.astype({"paid_at": "datetime64[us]"}), parquet, check_dtype=False)


def test_reports_files_hold_the_reports_that_arrived_on_their_day(written):
    files = [pd.read_csv(written / f"fraud_reports_{day(i)}.csv", parse_dates=["reported_at"]) for i in range(30)]
    assert all((file["reported_at"].dt.date == day(i)).all() for i, file in enumerate(files) if len(file))
    found = pd.concat([file for file in files if len(file)], ignore_index=True)
    pd.testing.assert_frame_equal(found, stream().reports(day(0), day(29)), check_dtype=False)
    text = (written / f"fraud_reports_{day(20)}.csv").read_text().splitlines()[1]
    assert dt.datetime.fromisoformat(text.split(",")[2].strip('"')).date() == day(20)


def test_a_day_without_reports_has_a_file_with_just_the_header(tmp_path):
    write_days(PaymentStream(2, 2, 0, FIRST), tmp_path, FIRST, FIRST)
    lines = (tmp_path / f"fraud_reports_{FIRST}.csv").read_text().splitlines()
    assert [line.replace('"', "") for line in lines] == [",".join(REPORT_COLUMNS)]


def test_feed_faults_break_the_files_of_their_day_only(written):
    truth = stream().payments(day(13), day(19))
    truth = {i: truth[truth["paid_at"].dt.date == day(i)] for i in range(13, 20)}
    file = {i: pd.read_parquet(written / f"payments_{day(i)}.parquet") for i in range(13, 20)}
    assert not file[13].isna().any(axis=None)
    assert file[14]["amount"].isna().mean() == pytest.approx(0.5, abs=0.1)
    assert len(file[15]) / len(truth[15]) == pytest.approx(0.5, abs=0.1)
    assert len(file[16]) == 2 * len(truth[16])
    np.testing.assert_array_equal(file[17]["amount"], (truth[17]["amount"] * 100).round())
    assert file[18]["country"].isna().all()
    np.testing.assert_array_equal(file[19]["amount"], truth[19]["amount"])
    assert len(file[19]) == len(truth[19])


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    write_days(stream(), tmp_path, day(0), day(0))
    before = digests(tmp_path)

    def fails_half_way(table, path, *rest):
        assert path.name.startswith(".")
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(landing_module.pa.parquet, "write_table", fails_half_way)
    with pytest.raises(OSError, match="disk full"):
        write_days(PaymentStream(300, 600, 8, FIRST), tmp_path, day(0), day(0))
    after = digests(tmp_path)
    assert after.keys() == before.keys()
    assert after[f"payments_{FIRST}.parquet"] == before[f"payments_{FIRST}.parquet"]


def test_write_days_says_what_was_wrong(tmp_path):
    with pytest.raises(ValueError, match="file_format is 'json', expected 'parquet' or 'csv'"):
        write_days(stream(), tmp_path, day(0), day(1), "json")
    with pytest.raises(ValueError, match="first day 2025-01-03 is after last day 2025-01-02"):
        write_days(stream(), tmp_path, day(2), day(1))
    with pytest.raises(ValueError, match="2024-12-31 is before the stream's first day"):
        write_days(stream(), tmp_path, day(-1), day(1))
    assert not list(tmp_path.iterdir())


# The last day


def test_the_last_written_day_is_read_from_file_names(tmp_path, written):
    assert last_written_day(tmp_path / "missing") is None
    assert last_written_day(tmp_path) is None
    assert last_written_day(written) == day(29)
    for name in ("events_2025-02-03.csv", ".events_2025-02-09.csv.17", ".events_2025-02-08.csv", "notes.txt"):
        (tmp_path / name).touch()
    assert last_written_day(tmp_path) == dt.date(2025, 2, 3)


def test_a_day_with_reports_alone_is_not_complete(tmp_path):
    write_days(stream(), tmp_path, day(0), day(1))
    (tmp_path / f"payments_{day(1)}.parquet").unlink()
    assert last_written_day(tmp_path) == day(0)
    (tmp_path / f"payments_{day(0)}.parquet").unlink()
    assert last_written_day(tmp_path) is None


# Replay


def past_events() -> pa.Table:
    """1,000 shuffled rows on the 1st, 2nd and 4th of May, with types that are easily lost."""
    rng = np.random.default_rng(0)
    at = np.datetime64("2024-05-01", "s") + rng.integers(0, 3 * 86_400, 1000).astype("timedelta64[s]")
    at[at >= np.datetime64("2024-05-03")] += np.timedelta64(1, "D")
    at[:4] = np.array(["2024-05-01T00:00:00", "2024-05-01T23:59:59", "2024-05-02T00:00:00", "2024-05-04T23:59:59"], "M8")
    return pa.table(
        {
            "row": pa.array(np.arange(1000), pa.int16()),
            "TX DATETIME": pa.array(at.astype("datetime64[ns]"), pa.timestamp("ns")),
            "amount": pa.array(rng.random(1000), pa.float32()),
            "key": pa.array([f"{i % 7:03d}" for i in range(1000)]),
            "flag": pa.array(rng.random(1000) < 0.1),
            "gap": pa.array([None if i % 3 else i for i in range(1000)], pa.int32()),
        }
    )


@pytest.fixture
def data(tmp_path) -> Path:
    path = tmp_path / "past.parquet"
    pq.write_table(past_events(), path, row_group_size=100)
    return path


def test_replay_loses_and_adds_no_row_and_keeps_columns_types_and_order(tmp_path, data):
    seen = []
    paths = replay_days(data, "TX DATETIME", tmp_path / "landing", None, dt.date(2024, 5, 4), progress=seen.append)
    assert [path.name for path in paths] == [f"past_2024-05-0{i}.parquet" for i in (1, 2, 3, 4)]
    assert seen == [dt.date(2024, 5, i) for i in (1, 2, 3, 4)]
    tables = [pq.read_table(path) for path in paths]
    micro = past_events().schema.set(1, pa.field("TX DATETIME", pa.timestamp("us")))
    assert all(table.schema == micro for table in tables)
    assert tables[2].num_rows == 0
    for table, when in zip(tables, seen, strict=True):
        assert (table["TX DATETIME"].to_pandas().dt.date == when).all()
        assert table["row"].to_pandas().is_monotonic_increasing
    assert pa.concat_tables(tables).sort_by("row").equals(past_events().cast(micro))


@settings(max_examples=10, deadline=None)
@given(cut=st.integers(1, 3), file_format=st.sampled_from(["parquet", "csv"]))
def test_replay_writes_the_same_bytes_whatever_the_cut(cut, file_format):
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "past.parquet"
        pq.write_table(past_events(), data)
        once, cuts = Path(folder) / "once", Path(folder) / "cuts"
        replay_days(data, "TX DATETIME", once, None, dt.date(2024, 5, 4), file_format)
        replay_days(data, "TX DATETIME", cuts, None, dt.date(2024, 5, cut), file_format)
        replay_days(data, "TX DATETIME", cuts, dt.date(2024, 5, cut + 1), dt.date(2024, 5, 4), file_format)
        assert digests(once) == digests(cuts)


def test_replay_of_a_csv_file_keeps_every_text_as_it_stands_there(tmp_path):
    (tmp_path / "past.csv").write_text(
        "id,at,country,amount\n1,2024-05-01 10:00:00,NA,1.50\n2,2024-05-02 00:00:00.25,,2e0\n"
        '3,2024-05-01T23:30:00-01:00,"",007\n9007199254740993,2024-05-01 09:00,null,0.12345678901234567890\n'
    )
    first, second = replay_days(tmp_path / "past.csv", "at", tmp_path / "landing", None, dt.date(2024, 5, 2))
    assert pq.read_table(first).to_pydict() == {
        "id": ["1", "9007199254740993"],
        "at": ["2024-05-01 10:00:00", "2024-05-01 09:00"],
        "country": ["NA", "null"],
        "amount": ["1.50", "0.12345678901234567890"],
    }
    assert pq.read_table(second).to_pydict()["country"] == [None, ""]
    text, _ = replay_days(tmp_path / "past.csv", "at", tmp_path / "texts", None, dt.date(2024, 5, 2), "csv")
    assert "9007199254740993" in text.read_text()


def test_a_csv_file_whose_times_are_none_is_refused_with_one_of_them(tmp_path):
    (tmp_path / "past.csv").write_text("id,at\n1,2024-05-01\n2,soon\n")
    with pytest.raises(ValueError, match="column 'at' has 'soon', expected a timestamp"):
        replay_days(tmp_path / "past.csv", "at", tmp_path / "landing", None, dt.date(2024, 5, 1))
    assert not (tmp_path / "landing").exists()


def test_days_of_replayed_times_with_a_zone_are_utc_days(tmp_path):
    at = pa.array(np.array(["2024-05-01T23:30", "2024-05-02T00:30"], "M8[us]"), pa.timestamp("us", "America/Lima"))
    pq.write_table(pa.table({"at": at}), tmp_path / "past.parquet")
    paths = replay_days(tmp_path / "past.parquet", "at", tmp_path / "landing", None, dt.date(2024, 5, 2))
    assert [pq.read_table(path).num_rows for path in paths] == [1, 1]


def test_replay_says_what_was_wrong_and_writes_nothing(tmp_path, data):
    landing = tmp_path / "landing"
    may = [dt.date(2024, 5, i) for i in range(1, 8)]
    with pytest.raises(ValueError, match=r"holds 2024-05-01 to 2024-05-04, but 2024-05-01 to 2024-05-05 was asked"):
        replay_days(data, "TX DATETIME", landing, None, may[4])
    with pytest.raises(ValueError, match=r"holds 2024-05-01 to 2024-05-04, but 2024-04-30 to 2024-05-02 was asked"):
        replay_days(data, "TX DATETIME", landing, dt.date(2024, 4, 30), may[1])
    with pytest.raises(ValueError, match="first day 2024-05-03 is after last day 2024-05-02"):
        replay_days(data, "TX DATETIME", landing, may[2], may[1])
    with pytest.raises(ValueError, match=r"no column 'time'; it has .*'TX DATETIME'"):
        replay_days(data, "time", landing, None, may[1])
    with pytest.raises(ValueError, match="column 'amount' is FLOAT, expected a timestamp"):
        replay_days(data, "amount", landing, None, may[1])
    with pytest.raises(FileNotFoundError, match=r"missing\.parquet: no such file"):
        replay_days(tmp_path / "missing.parquet", "at", landing, None, may[1])
    with pytest.raises(ValueError, match="file_format is 'json'"):
        replay_days(data, "TX DATETIME", landing, None, may[1], "json")
    other = data.rename(tmp_path / "past.xlsx")
    with pytest.raises(ValueError, match=r"ends in '.xlsx', expected '.parquet' or '.csv'"):
        replay_days(other, "TX DATETIME", landing, None, may[1])
    assert not landing.exists()


def test_rows_without_a_time_are_refused_rather_than_lost(tmp_path):
    at = pa.array(np.array(["2024-05-01", "NaT", "NaT"], "M8[us]"))
    pq.write_table(pa.table({"at": at}), tmp_path / "past.parquet")
    with pytest.raises(ValueError, match=r"2 row\(s\) have no 'at'"):
        replay_days(tmp_path / "past.parquet", "at", tmp_path / "landing", None, dt.date(2024, 5, 1))
    pq.write_table(pa.table({"at": at[:0]}), tmp_path / "past.parquet")
    with pytest.raises(ValueError, match="no rows"):
        replay_days(tmp_path / "past.parquet", "at", tmp_path / "landing", None, dt.date(2024, 5, 1))
