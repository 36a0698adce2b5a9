"""Versions that compete answer their shares of the customers and score every event, and hurt no request."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml.__main__ import main
from ml.config import Config, load
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.ledger.releases import Release
from ml.model.version import KIND, hash_of
from ml.quality.predictions import load_predictions
from ml.serving.challengers import Challengers
from ml.serving.service import Service
from tests.deployments import FIRST_AS_OF, small_told, write
from tests.monitoring import living
from tests.serving.conftest import events_of, patient

DAY = dt.timedelta(days=1)
EVENTS = 600
UNTIL = FIRST_AS_OF + 3 * DAY
SHARES = {"2": 0.2, "3": 0.25}

Answers = list[dict[str, Any]]


@pytest.fixture(scope="module")
def registered(released: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A champion, and two more versions that nobody crowned."""
    config = living.copy(released, tmp_path_factory.mktemp("registered"))
    assert [living.register(config, iterations) for iterations in (4, 50)] == ["2", "3"]
    return config


@pytest.fixture
def competing(registered: Config, tmp_path: Path) -> Config:
    """A copy in which both compete beside the champion for three days."""
    shutil.copytree(registered.home, tmp_path / "home")
    config = patient(load(write(tmp_path, small_told())))
    assert compete(config) == 0
    return config


def compete(config: Config) -> int:
    return say(config, "compete", "--version", "2=20", "--version", "3=25", "--until", UNTIL.isoformat())


def say(config: Config, word: str, *more: str) -> int:
    words = ["--config", str(config.home.parent / "deployment.yaml"), "--as-of", FIRST_AS_OF.isoformat()]
    return main(["releases", word, *words, "--actor", "ann", "--reason", "two ideas", *more])


def serve(config: Config, day: int, change: Callable[[Service], None] = lambda service: None) -> Answers:
    """Score a day's events by a service that is started and stopped, and take its log into the lake; the answers."""
    service = Service(config)
    service.start()
    change(service)
    events = [event | {"event_time": dt.datetime.fromisoformat(event["event_time"])} for event in events_of(config, EVENTS)]
    events = [e | {"event_id": f"{e['event_id']} {day}", "event_time": e["event_time"] + (day - 1) * DAY} for e in events]

    async def ask() -> Answers:
        chunks = [events[start : start + 10] for start in range(0, len(events), 10)]
        return [answer for chunk in chunks for answer in await service.score(chunk)]

    answers = asyncio.run(ask())
    service.stop()
    load_predictions(config, FIRST_AS_OF + (day + 1) * DAY)
    assert [answer["event_id"] for answer in answers] == [event["event_id"] for event in events]
    return answers


def predictions(config: Config) -> pd.DataFrame:
    with Lake(config.lake).connect({schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA}) as connection:
        return connection.execute("SELECT * FROM predictions").df()


def test_each_version_answers_its_customers_day_after_day_and_all_of_them_score_every_event(competing: Config) -> None:
    answers = serve(competing, 1) + serve(competing, 2)
    assert {(answer["version"], answer["role"]) for answer in answers} == {("1", "champion"), ("2", "canary"), ("3", "canary")}
    rows = predictions(competing)
    assert rows["competition"].eq(1).all()
    assert rows["release"].isna().all()
    assert all(sorted(of_event["version"]) == ["1", "2", "3"] for _, of_event in rows.groupby("event_id"))
    answered = rows[rows["role"] != "shadow"]
    assert len(answered) == 2 * EVENTS
    assert answered.groupby("key")["version"].nunique().max() == 1
    customers = answered.groupby("key")["version"].first().value_counts(normalize=True)
    assert customers.to_dict() == pytest.approx({"1": 0.55} | SHARES, abs=0.08)
    assert answered["arm"].where(answered["arm"] != "rest", "1").tolist() == answered["version"].tolist()
    assert answered["share"].unique() == pytest.approx([0.45])


def _fails(service: Service) -> None:
    now = service.challengers.now
    assert now is not None

    def broken(columns: Any) -> np.ndarray:
        raise RuntimeError("an input is missing")

    two, three = now.contenders
    assert two.version is not None
    failing = replace(two.version)
    object.__setattr__(failing, "score_few", broken)
    service.challengers.now = replace(now, contenders=[replace(two, version=failing), three])


def test_the_champion_answers_for_a_version_that_fails_and_the_others_go_on(competing: Config) -> None:
    answers = serve(competing, 1, _fails)
    assert {answer["version"] for answer in answers} == {"1", "3"}
    rows = predictions(competing)
    assert rows.loc[rows["version"] == "2", "error"].str.contains("an input is missing").all()
    assert all(set(of_event["version"]) == {"1", "2", "3"} for _, of_event in rows.groupby("event_id"))
    of_two = rows[(rows["arm"] == "2") & (rows["role"] == "champion")]
    assert len(of_two) > 0
    assert set(of_two["version"]) == {"1"}


def test_the_champion_answers_for_a_version_that_cannot_be_opened(competing: Config) -> None:
    contest = Ledger(competing.ledger).competitions.newest(competing.name, "1")
    assert contest is not None
    file = competing.home / KIND / hash_of(contest.competition.contenders["3"]["hashes"]) / "model.onnx"
    file.write_bytes(file.read_bytes() + b" ")
    assert {answer["version"] for answer in serve(competing, 1)} == {"1", "2"}
    rows = predictions(competing)
    assert rows.loc[rows["version"] == "3", "error"].notna().all()


def test_after_its_end_the_champion_answers_alone_and_nobody_else_scores(competing: Config) -> None:
    assert {answer["version"] for answer in serve(competing, 4)} == {"1"}
    assert predictions(competing)["competition"].isna().all()


def test_the_end_is_by_the_time_of_the_event(competing: Config) -> None:
    challengers = Challengers(competing)
    challengers.look()
    assert challengers.now is not None
    (event,) = events_of(competing, 1)
    assert challengers.now.place(event | {"event_time": UNTIL - dt.timedelta.resolution}) is not None
    assert challengers.now.place(event | {"event_time": UNTIL}) is None


def test_a_person_stops_it(competing: Config, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert say(competing, "stop") == 0
    assert "versions 2 (20 %) and 3 (25 %) beside version 1, stopped: two ideas" in capsys.readouterr().out
    assert {answer["version"] for answer in serve(competing, 1)} == {"1"}
    assert say(competing, "stop") == 3
    assert "no version of card_fraud is being released" in capsys.readouterr().err
    assert compete(competing) == 0
    assert "stopped by ann, and begins again only with another --as-of" in capsys.readouterr().out
    assert {answer["version"] for answer in serve(competing, 2)} == {"1"}
    told = [message.text for message in Ledger(competing.ledger).messages.all(competing.name) if message.event == "release"]
    assert [text.split(",")[0] for text in told] == ["Competition of versions 2 (20 %) and 3 (25 %) beside version 1"] * 2


def test_it_rests_while_a_version_is_released_or_another_one_is_champion(competing: Config) -> None:
    challengers, ledger = Challengers(competing), Ledger(competing.ledger)

    def under_way() -> tuple[str, list[str]] | None:
        challengers.look()
        now = challengers.now
        return None if now is None else (now.kind, [contender.number for contender in now.contenders])

    assert under_way() == ("competition", ["2", "3"])
    contest = ledger.competitions.newest(competing.name, "1")
    assert contest is not None
    ledger.releases.begin(
        Release(
            model=competing.name,
            version="3",
            champion="1",
            judgement="j",
            hashes=contest.competition.contenders["3"]["hashes"],
            plan={"steps": [{"share": 0}]},
            expected={"log_odds": [0.0]},
            as_of=FIRST_AS_OF,
            actor="gate",
            reason="better",
            run_id="r1",
        )
    )
    assert under_way() == ("release", ["3"])
    assert say(competing, "stop") == 0
    assert under_way() == ("competition", ["2", "3"]), "the stop was that of the release"
    living.move(competing, "1", "2")
    assert under_way() is None
    living.move(competing, "2", "1")
    assert under_way() == ("competition", ["2", "3"])


def test_standings_tell_the_better_one_once_labels_have_matured(competing: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """By labels that agree with the champion's scores, and not with those of a version of four trees."""
    serve(competing, 1)
    rows = predictions(competing).pivot_table(index="event_id", columns="version", values="score")
    gone = set((rows["1"].rank() - rows["2"].rank()).sort_values(ascending=False).index[:80])
    known = FIRST_AS_OF + 3 * DAY
    labels = [
        {"event_id": event, "label": int(event in gone), "reported_at": known, "known_at": known, "batch_id": "reports"}
        for event in rows.index
    ]
    Lake(competing.lake).append_batches(schema.LABELS, pa.Table.from_pylist(labels, schema.LABELS_SCHEMA))
    path = str(competing.home.parent / "deployment.yaml")

    def told(as_of: dt.datetime) -> str:
        capsys.readouterr()
        assert main(["releases", "standings", "--config", path, "--as-of", as_of.isoformat()]) == 0
        return capsys.readouterr().out

    young = told(UNTIL)
    assert "0 matured events" in young
    assert "too few to compare" in young
    assert "an interim look" in young
    end = told(UNTIL + competing.label_delay)
    assert f"{len(rows):,} matured events that all of them have scored, 80 positive" in end
    assert "version 1 is better" in end
    assert "an interim look" not in end
    assert "nothing is promoted by this" in end
    assert Ledger(competing.ledger).moves.champion(competing.name) == "1"
