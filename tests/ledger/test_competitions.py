"""One competition goes on beside a champion; it is stopped once, and rests while another version is champion."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace

import pytest

from ml.ledger.competitions import Competition, CompetitionOpen, CompetitionStop, Contest
from ml.ledger.ledger import Ledger

AS_OF = dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)
CONTENDER = {"share": 5, "hashes": {"model.onnx": "0" * 64}}
COMPETITION = Competition(
    model="fraud",
    champion="1",
    contenders={"7": CONTENDER, "9": CONTENDER | {"share": 2.5}},
    split="customer",
    until=AS_OF + WEEK,
    as_of=AS_OF,
    actor="ann",
    reason="two ideas",
    run_id="by hand",
)


def stop_of(contest: Contest, actor: str = "ann") -> CompetitionStop:
    as_of = AS_OF + dt.timedelta(hours=1)
    return CompetitionStop(competition=contest.competition.id, as_of=as_of, actor=actor, reason="enough", run_id="by hand")


def test_it_is_open_until_its_end_or_a_stop(ledger: Ledger) -> None:
    assert ledger.competitions.newest("fraud", "1") is None
    contest = ledger.competitions.begin(COMPETITION)
    assert (contest.competition.shares, contest.stop) == ({"7": 5.0, "9": 2.5}, None)
    assert contest.competition.name == "competition of versions 7 (5 %) and 9 (2.5 %) beside version 1"
    assert [contest.is_open(AS_OF + late) for late in (dt.timedelta(), WEEK - dt.timedelta(seconds=1), WEEK)] == [
        True,
        True,
        False,
    ]
    for actor in ("ann", "bob"):
        ledger.competitions.stop(stop_of(contest, actor))
    stopped = ledger.competitions.newest("fraud", "1")
    assert stopped is not None
    assert stopped.stop == stop_of(contest, "ann"), "who says so first counts"
    assert not stopped.is_open(AS_OF)


def test_the_same_wish_again_is_the_same_competition_whatever_became_of_it(ledger: Ledger) -> None:
    contest = ledger.competitions.begin(COMPETITION)
    assert ledger.competitions.begin(COMPETITION) == contest
    ledger.competitions.stop(stop_of(contest))
    assert ledger.competitions.begin(COMPETITION).competition == contest.competition
    assert len(ledger.competitions.all("fraud")) == 1


def test_another_one_begins_when_the_one_before_is_over_or_rests(ledger: Ledger) -> None:
    contest = ledger.competitions.begin(COMPETITION)
    another = replace(COMPETITION, contenders={"8": CONTENDER}, run_id="another")
    with pytest.raises(CompetitionOpen, match=r"versions 7 \(5 %\) and 9 \(2.5 %\) beside version 1 goes on until 2025-05-09"):
        ledger.competitions.begin(another)
    assert ledger.competitions.begin(replace(another, model="churn")).competition.model == "churn"
    beside_two = ledger.competitions.begin(replace(another, champion="2"))
    assert ledger.competitions.newest("fraud", "2") == beside_two
    assert ledger.competitions.newest("fraud", "1") == contest, "it goes on when version 1 is champion again"
    later = replace(another, as_of=AS_OF + WEEK, until=AS_OF + 2 * WEEK)
    assert ledger.competitions.begin(later).competition.name == "competition of version 8 (5 %) beside version 1"


def test_of_two_that_begin_at_once_one_does(url: str) -> None:
    Ledger(url)
    begun: list[Contest] = []
    refused: list[CompetitionOpen] = []

    def begin(number: int) -> None:
        try:
            begun.append(Ledger(url).competitions.begin(replace(COMPETITION, run_id=f"run {number}")))
        except CompetitionOpen as error:
            refused.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(begun), len(refused)) == (1, 3)
