"""The step `release`: looks at the release that is under way, and moves it one step on, or back to the champion.

The new version answers a growing share of the traffic. A step is held for a number of requests and hours; too few of them is no
success. A limit that is broken for certain ends the release at any step, and the champion answers everything again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ml.config import Config
from ml.config.release import Release as Plan
from ml.decision import judgements, traffic
from ml.evaluation.release import Check, expected_scores
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.releases import Course, NoRelease, Release, ReleaseMove, ReleaseMoved, moving
from ml.ledger.run import BY_HAND, Run
from ml.ledger.words import ReleaseWord
from ml.model import copies
from ml.model import version as versions
from ml.model.model import Model
from ml.registry import promotion
from ml.training import dataset, fit

FULL = 100.0


@dataclass(frozen=True)
class Looked:
    """What a look at the release came to; `release` (its number), `version` and `word` are empty where none is open."""

    release: str
    version: str
    word: str
    share: float
    waits: bool
    note: str


def begin(config: Config, as_of: dt.datetime, judgement: judgements.Judgement, version: str, run: Run) -> Course:
    """Open the release of a version that the gate promotes in place of the champion.

    Raises:
        ReleaseOpen: another version is being released.
        BrokenModel, ParityError: the registered files are not the model that was registered.
    """
    champion = judgement.champion_version
    if config.release is None or champion is None:
        raise NoRelease(f"{config.name}: version {version} has no champion beside it, so it is not released in steps")
    registry = fit.registry(config)
    folder, before = registry.fetch(version), registry.fetch(champion)
    copies.check_copy(folder)
    rows = dataset.read(config, fit.describe(config, judgement.model).training_set)
    holdout = rows[rows[dataset.SPLIT] == dataset.HOLDOUT]
    expected = expected_scores(Model(folder).score(holdout), Model(before).score(holdout))
    hashes = registry.digests(version)
    versions.publish(config, folder, hashes)
    return Ledger(config.ledger).releases.begin(
        Release(
            model=config.name,
            version=version,
            champion=champion,
            judgement=judgement.judgement,
            hashes=hashes,
            plan=config.release.model_dump(mode="json"),
            expected={"log_odds": expected},
            as_of=as_of,
            actor=run.actor,
            reason=judgement.reason,
            run_id=run.id_at(as_of),
        )
    )


def release(config: Config, as_of: dt.datetime, run: Run = BY_HAND) -> Looked:
    """Look at the release that is under way, and move it if what it has shown allows or demands it.

    Whoever moves it while it is looked at was first: this look then records nothing, and tells what has become of it.

    Raises:
        ChampionMoved: somebody moved the champion at the same time; the next look ends the release.
    """
    ledger = Ledger(config.ledger)
    course = ledger.releases.open(config.name)
    if course is None:
        return Looked("", "", "", 0.0, False, "no version is being released")
    champion = ledger.moves.champion(config.name)
    asked = _looked_at(config, course, champion, as_of, run)
    promotes = asked.word == "finished" and champion != course.release.version
    try:
        moved = _promoted(config, course, asked) if promotes else ledger.releases.move(course, asked)
    except ReleaseMoved as error:
        return _looked(error.now)
    return _told(config, moved, "release" if run.id else "")


def end(
    config: Config, as_of: dt.datetime, word: Literal["approved", "stopped"], reason: str, run: Run, release: str = ""
) -> Looked:
    """A person stops the release, or agrees to its next step; a look in the same moment does not take that away.

    The same word by the same run again, which is a retry, changes nothing.

    Args:
        release: number of the release that is meant, by default of the one that is open.

    Raises:
        NoRelease: none is open, no longer, or another one than is meant.
        ReleaseMoved: there is another step to agree to than a moment before.
    """
    releases = Ledger(config.ledger).releases
    course = releases.newest(config.name)
    if course and any((move.word, move.run_id) == (word, run.id_at(as_of)) for move in course.moves):
        return _looked(course)
    if course and release not in ("", str(course.release.id)):
        raise NoRelease(f"that release has ended; version {course.release.version} was released since, which is another matter")
    while course is not None and course.is_open:
        try:
            moved = releases.move(course, _asked(course, word, reason, {}, as_of, run))
        except ReleaseMoved as error:
            if word == "approved" and error.now.is_open and error.now.step != course.step:
                raise
            course = error.now
        else:
            return _told(config, moved, "approve" if run.id else "")
    last = f"; {_looked(course).note}" if course else ""
    undo = "; `python -m ml rollback` makes the version before champion again" if course and share_of(course) == FULL else ""
    raise NoRelease(f"no version of {config.name} is being released{last}{undo}")


def share_of(course: Course) -> float:
    """The percent of the traffic that the new version answers."""
    if not course.is_open:
        return FULL if course.moves[-1].word == "finished" else 0.0
    return float(Plan.model_validate(course.release.plan).steps[course.step].share)


def decide(
    course: Course, plan: Plan, checks: list[Check], requests: int, hours: float, as_of: dt.datetime
) -> tuple[ReleaseWord, str]:
    """What a look comes to: a word, and why.

    Args:
        requests, hours: seen at the present step.
    """
    step, is_last = plan.steps[course.step], course.step + 1 == len(plan.steps)
    if breached := [check.sentence for check in checks if check.is_breached]:
        return "stepped back", "; ".join(breached)
    if as_of - course.release.as_of > plan.patience.span:
        return (
            "expired",
            f"it came to no end within {plan.patience.value:g} days; {_seen(step.requests, requests, step.hours, hours)}",
        )
    if requests < step.requests or hours < step.hours:
        return "held", f"inconclusive: {_seen(step.requests, requests, step.hours, hours)}"
    if unclear := [check.sentence for check in checks if not check.is_clear]:
        return "held", f"inconclusive: {'; '.join(unclear)}"
    share = FULL if is_last else plan.steps[course.step + 1].share
    if plan.approval == share and not course.approved:
        return "waits", f"a person has to agree to {share:g} %: `python -m ml releases approve`"
    why = f"{_seen(step.requests, requests, step.hours, hours)}, and no limit is broken"
    return ("finished" if is_last else "advanced"), why


def _seen(needed: int, requests: int, needed_hours: float, hours: float) -> str:
    return f"{requests:,} of {needed:,} requests in {hours:.1f} of {needed_hours:g} hours"


def _looked_at(config: Config, course: Course, champion: str | None, as_of: dt.datetime, run: Run) -> ReleaseMove:
    """The move that what the release has shown until an instant allows or demands."""
    opened = course.release
    if champion == opened.version:
        return _asked(course, "finished", "it is champion", {}, as_of, run)
    if champion != opened.champion:
        why = f"version {champion} is champion now, and version {opened.version} was judged against {opened.champion}"
        return _asked(course, "superseded", why, {}, as_of, run)
    plan = Plan.model_validate(opened.plan)
    found = traffic.seen(config, as_of, course)
    checks = found.checks(plan, course.step, opened.expected["log_odds"])
    step = plan.steps[course.step]
    requests, hours = found.requests(step.share / 100), (as_of - course.began).total_seconds() / 3600
    evidence = {"checks": [asdict(check) for check in checks], "requests": requests, "hours": round(hours, 2)}
    word, why = decide(course, plan, checks, requests, hours, as_of)
    return _asked(course, word, why, evidence, as_of, run)


def _asked(
    course: Course, word: ReleaseWord, why: str, evidence: Mapping[str, Any], as_of: dt.datetime, run: Run
) -> ReleaseMove:
    return ReleaseMove(
        release=course.release.id,
        sequence=len(course.moves) + 1,
        word=word,
        step=course.step + (word == "advanced"),
        as_of=as_of,
        actor=run.actor,
        reason=why,
        evidence=evidence,
        run_id=run.id_at(as_of),
    )


def _promoted(config: Config, course: Course, finished: ReleaseMove) -> Course:
    """Make the version champion and end its release, both or neither: a stop in the same moment wins or comes too late."""
    opened = course.release
    promotion.promote(
        Ledger(config.ledger),
        fit.registry(config),
        version=opened.version,
        judged_champion=opened.champion,
        verdict=judgements.verdict_of(config, opened.judgement),
        as_of=finished.as_of,
        actor=finished.actor,
        reason=opened.reason,
        run_id=finished.run_id,
        check=copies.check_copy,
        also=moving(course, finished),
    )
    return Course(opened, (*course.moves, finished))


def _looked(course: Course) -> Looked:
    opened, last, share = course.release, course.moves[-1], share_of(course)
    note = f"version {opened.version} {last.word} at {share:g} % of the traffic: {last.reason}"
    return Looked(str(opened.id), opened.version, last.word, share, last.word == "waits", note)


def _told(config: Config, course: Course, process: str) -> Looked:
    """Tell people of a release's last move, unless it is what they know already."""
    looked, last = _looked(course), course.moves[-1]
    said_before = looked.waits and [move.word for move in course.moves[-2:]] == ["waits", "waits"]
    if last.word != "held" and not said_before:
        message = Message(
            model=config.name,
            key=f"release {course.release.id} {last.sequence}",
            event="release",
            text=f"Release of {looked.note}",
            figure=f"{looked.share:g} % of the traffic",
            as_of=last.as_of,
            process=process,
            run_id=last.run_id if process else "",
            version=looked.version,
        )
        Ledger(config.ledger).messages.post(message)
    return looked
