"""One release of a model is open at a time; its moves are recorded once, by whoever looks first."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace

import pytest

from ml.ledger.ledger import Ledger
from ml.ledger.releases import ENDS, Course, Release, ReleaseMove, ReleaseOpen

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
        made.append(Ledger(url).releases.move(course, move(course, "advanced", step=1, hours=hours)))

    looks = [threading.Thread(target=look, args=(hours,)) for hours in range(4)]
    for each in looks:
        each.start()
    for each in looks:
        each.join()
    assert len(made) == 4
    assert {len(each.moves) for each in made} == {1}
    assert all(each == made[0] for each in made)
