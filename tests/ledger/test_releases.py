"""One release of a model is open at a time; its moves are recorded once, by whoever looks first."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from ml.ledger.ledger import Ledger
from ml.ledger.moves import ChampionMoved, Move
from ml.ledger.releases import ENDS, Course, Release, ReleaseMove, ReleaseMoved, ReleaseOpen, moving

AS_OF = dt.datetime(2025, 5, 2, 2, tzinfo=dt.UTC)
RELEASE = Release(
    model="fraud",
    version="2",
    champion="1",
    judgement="j",
    hashes={"model.onnx": "0" * 64},
    plan={"steps": []},
    expected={"log_odds": [0.0]},
    as_of=AS_OF,
    actor="scheduler",
    reason="better",
    run_id="r1",
)


def move(course: Course, word: str, step: int = 0, hours: int = 1) -> ReleaseMove:
    return ReleaseMove(
        release=course.release.id,
        sequence=len(course.moves) + 1,
        word=word,
        step=step,
        as_of=AS_OF + dt.timedelta(hours=hours),
        actor="scheduler",
        reason="because",
        evidence={},
        run_id=f"look {hours}",
    )


def test_a_release_is_open_until_a_move_ends_it(ledger: Ledger) -> None:
    assert ledger.releases.open("fraud") is None
    course = ledger.releases.begin(RELEASE)
    assert (course.is_open, course.step, course.began, course.approved) == (True, 0, AS_OF, False)
    course = ledger.releases.move(course, move(course, "approved"))
    assert course.approved
    course = ledger.releases.move(course, move(course, "advanced", step=1, hours=25))
    assert (course.step, course.began, course.approved) == (1, AS_OF + dt.timedelta(hours=25), False)
    assert ledger.releases.open("fraud") == course
    course = ledger.releases.move(course, move(course, "stepped back", step=1, hours=26))
    assert not course.is_open
    assert ledger.releases.open("fraud") is None
    assert ledger.releases.all("fraud") == [course]


@pytest.mark.parametrize("word", ENDS)
def test_another_release_begins_when_the_one_before_has_ended(ledger: Ledger, word: str) -> None:
    course = ledger.releases.begin(RELEASE)
    with pytest.raises(ReleaseOpen, match="version 2 is being released, so version 3 is not"):
        ledger.releases.begin(replace(RELEASE, version="3"))
    ledger.releases.move(course, move(course, word))
    assert ledger.releases.begin(replace(RELEASE, version="3")).release.version == "3"
    assert ledger.releases.begin(replace(RELEASE, model="churn")).release.model == "churn"


def test_the_same_verdict_again_is_the_same_release_whatever_became_of_it(ledger: Ledger) -> None:
    course = ledger.releases.begin(RELEASE)
    ended = ledger.releases.move(course, move(course, "stepped back"))
    assert ledger.releases.begin(replace(RELEASE, run_id="a retry")) == ended
    assert len(ledger.releases.all("fraud")) == 1


def test_of_two_looks_at_once_one_moves(url: str) -> None:
    course = Ledger(url).releases.begin(RELEASE)
    made: list[Course] = []

    def look(hours: int) -> None:
        try:
            made.append(Ledger(url).releases.move(course, move(course, "advanced", step=1, hours=hours)))
        except ReleaseMoved as error:
            made.append(error.now)

    at_once(*[partial(look, hours) for hours in range(4)])
    assert len(made) == 4
    assert {len(each.moves) for each in made} == {1}
    assert all(each == made[0] for each in made)


@pytest.mark.parametrize("first", ["stop", "promotion"])
def test_a_version_is_not_promoted_and_stopped_at_once(url: str, first: str) -> None:
    for number in range(5):
        model, refused = f"fraud {number}", list[Course]()
        Ledger(url).moves.make(champion(model, None, "1"))
        course = Ledger(url).releases.begin(replace(RELEASE, model=model))
        promotion, finished = champion(model, "1", "2"), moving(course, move(course, "finished"))
        actions: dict[str, Callable[[], object]] = {
            "stop": partial(Ledger(url).releases.move, course, move(course, "stopped")),
            "promotion": partial(Ledger(url).moves.make, promotion, finished),
        }
        at_once(*[partial(take, action, refused) for _, action in sorted(actions.items(), key=lambda named: named[0] != first)])
        now = Ledger(url).releases.newest(model)
        assert now is not None
        assert (Ledger(url).moves.champion(model), now.moves[-1].word) in {("1", "stopped"), ("2", "finished")}
        assert refused == [now]


def take(action: Callable[[], object], refused: list[Course]) -> None:
    try:
        action()
    except ReleaseMoved as error:
        refused.append(error.now)


def test_a_promotion_that_is_refused_leaves_its_release_open(ledger: Ledger) -> None:
    course = ledger.releases.begin(RELEASE)
    ledger.moves.make(champion("fraud", None, "3"))
    with pytest.raises(ChampionMoved):
        ledger.moves.make(champion("fraud", "1", "2"), moving(course, move(course, "finished")))
    assert ledger.releases.open("fraud") == course


def champion(model: str, before: str | None, version: str) -> Move:
    return Move(
        model=model,
        action="promote",
        expected_from=before,
        to_version=version,
        as_of=AS_OF,
        actor="scheduler",
        reason="better",
        verdict={},
        run_id=f"run of {version}",
        hashes={},
    )


def at_once(*actions: Callable[[], None]) -> None:
    """Take actions in threads that begin together."""
    gate = threading.Barrier(len(actions))

    def begin(action: Callable[[], None]) -> None:
        gate.wait()
        action()

    threads = [threading.Thread(target=begin, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
