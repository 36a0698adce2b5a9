"""A deployment is proposed from files alone, refused until a person has given the reasons, and runs then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from ml.__main__ import main
from ml.config import Config, ConfigError, load
from ml.quality.validate import validate_batch

ROWS = 4000
NEW_YORK = "America/New_York"


def stream() -> pd.DataFrame:
    """Four weeks of calls, by names that are no identifiers; a thing that follows from the answer is among the columns."""
    rng = np.random.default_rng(7)
    label = rng.random(ROWS) < 0.1
    at = pd.Timestamp("2024-03-11T06:00") + pd.to_timedelta(np.sort(rng.integers(0, 28 * 24 * 60, ROWS)), unit="min")
    return pd.DataFrame(
        {
            "Call-Id": [f"call {number}" for number in range(ROWS)],
            "order": at,
            "Customer No": [f"C{number}" for number in rng.integers(0, 300, ROWS)],
            "Region": rng.choice(["a", "b", "NA"], ROWS),
            "Länge (s)": np.where(rng.random(ROWS) < 0.1, np.nan, rng.exponential(100, ROWS).round(1)),
            "label": rng.normal(size=ROWS).round(3),
            "refund": np.where(label, 50.0, 0.0) + rng.random(ROWS),
            "constant": 1,
            "note": [f"text {number}" for number in range(ROWS)],
            "lost?": label.astype(int),
        }
    )


def answers(rows: pd.DataFrame, zone: str = NEW_YORK) -> pd.DataFrame:
    """Nine in ten answers come within thirty hours; their times say their zone."""
    hours = np.where(np.arange(ROWS) % 10 == 0, 50, 0.3 + np.arange(ROWS) % 29)
    at = rows["order"].dt.tz_localize(zone, ambiguous=True, nonexistent="shift_forward") + pd.to_timedelta(hours, unit="h")
    return pd.DataFrame({"call": rows["Call-Id"], "was lost": rows["lost?"], "told at": at.map(pd.Timestamp.isoformat)})


def propose(folder: Path, suffix: str, labelled: bool) -> Path:
    """Run `init` on the files in a format; where the deployment file is."""
    rows = stream()
    files = {"data": rows.drop(columns="lost?") if labelled else rows} | ({"labels": answers(rows)} if labelled else {})
    asked = []
    for name, table in files.items():
        path = folder / f"{name} of calls{suffix}"
        table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path, index=False)
        asked += [f"--{name}", str(path)]
    to = folder / "calls.yaml"
    assert main(["init", *asked, "--to", str(to)]) == 0
    return to


def write_reasons(to: Path) -> Config:
    """Do what the person does: a text in place of each TODO."""
    for path in (to, *(to.parent / "expectations").glob("*.yaml")):
        path.write_text(path.read_text().replace("TODO", "as agreed:"))
    told = yaml.safe_load(to.read_text()) | {"home": str(to.parent / "home")}
    to.write_text(yaml.safe_dump(told))
    return load(to)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_proposal_is_refused_until_its_reasons_are_written_and_reads_its_files_then(
    tmp_path: Path, suffix: str, labelled: bool
) -> None:
    to = propose(tmp_path, suffix, labelled)
    with pytest.raises(ConfigError, match=r"yet to write, in place of TODO: description, events\.lag\.reason"):
        load(to)
    config = write_reasons(to)
    assert config.events.columns["event_id"] == "Call-Id"
    assert config.events.columns["event_time"] == "order"
    assert config.entities == {"customer_no": "customer_no"}
    assert config.categories == ["region"]
    assert set(config.measures) == {"l_nge_s", "label_of_event", *(["refund"] if labelled else [])}
    config.landing.mkdir(parents=True)
    for file in tmp_path.glob(f"*{suffix}"):
        (config.landing / file.name).write_bytes(file.read_bytes())
    told = validate_batch(config, config.archive_until)
    assert told.stopped == ()
    assert told.accepted == told.rows == (2 if labelled else 1) * ROWS


def test_the_file_says_what_was_left_out_and_why(tmp_path: Path) -> None:
    told = propose(tmp_path, ".csv", labelled=False).read_text()
    assert "refund is left out: it tells the label by itself (ROC AUC 1.000): is it known when the event happens?" in told
    assert "constant is left out: it has one value" in told
    assert "note is left out: text with 4,000 values that hardly repeat" in told


def test_delay_and_zone_follow_from_the_answers(tmp_path: Path) -> None:
    to = propose(tmp_path, ".csv", labelled=True)
    told = yaml.safe_load(to.read_text())
    assert told["events"]["timezone"] == NEW_YORK
    assert (told["labels"]["delay"]["value"], told["labels"]["delay"]["unit"]) == (3, "days")
    assert "90% after" in told["labels"]["delay"]["reason"]
    assert "100.0% of the events have one" in told["labels"]["delay"]["reason"]


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = propose(tmp_path, ".csv", labelled=False)
    before = to.read_text()
    assert main(["init", "--data", str(tmp_path / "data of calls.csv"), "--to", str(to)]) == 3
    assert "there already" in capsys.readouterr().err
    assert to.read_text() == before


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"id": ["a", "b"], "lost": [0, 1]}, "no column holds times"),
        ({"at": ["2024-01-01", "2024-01-02"], "id": ["a", "a"], "lost": [0, 1]}, "no column has another value in every row"),
        ({"at": ["2024-01-01", "2024-01-02"], "id": ["a", "b"], "lost": [0, 3]}, "no column holds 0 and 1 alone"),
        ({"at": []}, "no rows"),
        ({"at": ["2024-01-01", "2024-01-02"], "id": ["a", "b"], "lost": [0, 1]}, "no column names what events have in common"),
    ],
)
def test_a_file_that_is_no_stream_of_events_is_an_answer(tmp_path: Path, columns: dict, told: str, capsys) -> None:
    pd.DataFrame(columns).to_csv(tmp_path / "data.csv", index=False)
    assert main(["init", "--data", str(tmp_path / "data.csv")]) == 3
    assert told in capsys.readouterr().err


def test_a_file_that_is_not_there_or_of_another_kind_is_an_answer(tmp_path: Path, capsys) -> None:
    (tmp_path / "data.xlsx").write_text(json.dumps({}))
    for name, told in (("absent.csv", "no such file"), ("data.xlsx", "the name ends in none of .parquet, .pq, .csv")):
        assert main(["init", "--data", str(tmp_path / name)]) == 3
        assert told in capsys.readouterr().err


def impressions() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Four weeks of advertisements, times in milliseconds since 1970, and the clicks on them, which are all positive."""
    rng = np.random.default_rng(3)
    shown = 1_709_251_200_000 + np.sort(rng.integers(0, 28 * 86_400_000, ROWS))
    rows = pd.DataFrame(
        {
            "impression": 7_310_000_000_000_000_000 + 37 * np.arange(ROWS),
            "shown_at": shown,
            "user": [f"u{number}" for number in rng.integers(0, 400, ROWS)],
            "campaign": 1000 + rng.integers(0, 20, ROWS),
            "position": rng.integers(1, 9, ROWS),
            "bid": rng.lognormal(-6, 1, ROWS).round(8),
        }
    )
    clicked = rows.sample(frac=0.02, random_state=1).sort_index()
    return rows, pd.DataFrame({"impression": clicked["impression"], "clicked_at": clicked["shown_at"] + 60_000})


def test_times_may_count_since_1970_and_every_row_of_the_answers_may_be_a_positive(tmp_path: Path) -> None:
    rows, clicks = impressions()
    rows.to_csv(tmp_path / "impressions.csv", index=False)
    clicks.to_csv(tmp_path / "clicks.csv", index=False)
    to = tmp_path / "ads.yaml"
    words = ["--data", str(tmp_path / "impressions.csv"), "--labels", str(tmp_path / "clicks.csv"), "--to", str(to)]
    assert main(["init", *words]) == 0
    text = to.read_text()
    config = write_reasons(to)
    assert (config.events.epoch, config.labels.epoch) == ("milliseconds", "milliseconds")
    assert set(config.labels.columns) == {"event_id", "reported_at"}
    assert "at 2.0% positives" in text
    assert config.training.alerts.value == round(0.02 * ROWS / 28)
    assert config.measures == ["bid", "position"]
    assert "campaign" in config.categories
    config.landing.mkdir(parents=True)
    for name in ("impressions.csv", "clicks.csv"):
        (config.landing / name).write_bytes((tmp_path / name).read_bytes())
    report = validate_batch(config, config.archive_until)
    assert (report.accepted, report.stopped) == (ROWS + len(clicks), ())
