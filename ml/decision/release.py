"""The step `release`: looks at the release that is under way, and moves it one step on, or back to the champion.

The new version answers a growing share of the traffic. A step is held for a number of requests and hours; too few of them is no
success. A limit that is broken for certain ends the release at any step, and the champion answers everything again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ml.config import Config
from ml.config.release import Release as Plan
from ml.decision import judgements, traffic
from ml.evaluation.release import Check, expected_scores
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.releases import Course, NoRelease, Release, ReleaseMove
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
    """What a look at the release came to; `version` and `word` are empty where none is open."""

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

    Raises:
        ChampionMoved: somebody moved the champion at the same time; the next look ends the release.
    """
    ledger = Ledger(config.ledger)
    course = ledger.releases.open(config.name)
    if course is None:
        return Looked("", "", 0.0, False, "no version is being released")
    champion, opened = ledger.moves.champion(config.name), course.release
    if champion not in (opened.champion, opened.version):
        why = f"version {champion} is champion now, and version {opened.version} was judged against {opened.champion}"
        return _move(config, course, "superseded", why, {}, as_of, run)
    if champion == opened.version:  # a look that was cut off between the promotion and its record
        return _move(config, course, "finished", "it is champion", {}, as_of, run)
    plan = Plan.model_validate(opened.plan)
    found = traffic.seen(config, as_of, course)
    checks = found.checks(plan, course.step, opened.expected["log_odds"])
    step = plan.steps[course.step]
    requests, hours = found.requests(step.share / 100), (as_of - course.began).total_seconds() / 3600
    evidence = {"checks": [asdict(check) for check in checks], "requests": requests, "hours": round(hours, 2)}
    word, why = decide(course, plan, checks, requests, hours, as_of)
    if word == "finished":
        _promote(config, course, as_of, run)
    return _move(config, course, word, why, evidence, as_of, run)


def end(config: Config, as_of: dt.datetime, word: ReleaseWord, reason: str, run: Run) -> Looked:
    """A person stops the release, or agrees to its next step.

    Raises:
        NoRelease: none is open.
    """
    course = Ledger(config.ledger).releases.open(config.name)
    if course is None:
        raise NoRelease(f"no version of {config.name} is being released")
    return _move(config, course, word, reason, {}, as_of, run)


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


def _promote(config: Config, course: Course, as_of: dt.datetime, run: Run) -> None:
    opened, ledger, registry = course.release, Ledger(config.ledger), fit.registry(config)
    promotion.promote(
        ledger,
        registry,
        version=opened.version,
        judged_champion=opened.champion,
        verdict=judgements.verdict_of(config, opened.judgement),
        as_of=as_of,
        actor=run.actor,
        reason=opened.reason,
        run_id=run.id_at(as_of),
        check=copies.check_copy,
    )


def _move(
    config: Config, course: Course, word: ReleaseWord, why: str, evidence: Mapping[str, Any], as_of: dt.datetime, run: Run
) -> Looked:
    ledger, opened = Ledger(config.ledger), course.release
    asked = ReleaseMove(
        release=opened.id,
        sequence=len(course.moves) + 1,
        word=word,
        step=course.step + (word == "advanced"),
        as_of=as_of,
        actor=run.actor,
        reason=why,
        evidence=evidence,
        run_id=run.id_at(as_of),
    )
    said_before = bool(course.moves) and course.moves[-1].word == word == "waits"
    moved = ledger.releases.move(course, asked)
    made = moved.moves[-1]
    share = share_of(moved)
    note = f"version {opened.version} {made.word} at {share:g} % of the traffic: {made.reason}"
    if made == asked and word != "held" and not said_before:
        ledger.messages.post(
            Message(
                model=config.name,
                key=f"release {opened.id} {asked.sequence}",
                event="release",
                text=f"Release of {note}",
                figure=f"{share:g} % of the traffic",
                as_of=as_of,
                process="release" if run.id else "",
                run_id=run.id,
                version=opened.version,
            )
        )
    return Looked(opened.version, made.word, share, made.word == "waits", note)
