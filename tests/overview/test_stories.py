"""What the pages tell: champions in turn, what moved by day, and a status that fits on a screen."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ml.__main__ import main
from ml.config import Config, load
from ml.ledger.ledger import Ledger
from ml.ledger.moves import Move
from ml.ledger.requests import Request
from ml.ledger.signals import Incident, Reading
from ml.monitoring.words import ESTIMATE, PERFORMANCE, SEVERITY, TRAFFIC
from ml.overview.drift import drift
from ml.overview.model import model
from ml.overview.requests import requests
from tests import deployments
from tests.decisions import decision

DAY = dt.date(2025, 5, 4)
AS_OF = dt.datetime(2025, 5, 5, 2, tzinfo=dt.UTC)
ONE = dt.timedelta(days=1)
EVIDENCE = {
    "primary": {"name": "average precision", "champion": 0.5, "challenger": 0.6, "gain": 0.1, "interval": [0.05, 0.15]},
    "others": [{"name": "ROC AUC", "champion": 0.9, "challenger": 0.91}],
    "guardrails": [{"name": "latency", "challenger": 0.1, "margin": 1.0, "status": "passed", "told": "fast enough"}],
    "slices": [{"slice": "amount", "group": "under 50", "interval": [0.0, 0.1], "gain": 0.05, "status": "vetoed"}],
}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(deployments.small_file(tmp_path))


@pytest.fixture
def ledger(config: Config) -> Ledger:
    return Ledger(config.ledger)


def _move(config: Config, ledger: Ledger, action: str, version: str, as_of: dt.datetime) -> None:
    champion = ledger.moves.champion(config.name)
    told = {"actor": "ann", "reason": action, "verdict": {}, "hashes": {}, "run_id": f"{action} {version}"}
    ledger.moves.make(
        Move(model=config.name, action=action, expected_from=champion, to_version=version, as_of=as_of, **told)  # type: ignore[arg-type]
    )


def _reading(signal: str, kind: str = "drift", state: str = "OK", value: float | None = 1.0, **details: object) -> Reading:
    return Reading(signal=signal, kind=kind, value=value, threshold=4.0, state=state, details=details)  # type: ignore[arg-type]


def _day(config: Config, ledger: Ledger, day: dt.date, *more: Reading) -> None:
    seen = [
        _reading("amount: location", state="WARN", value=-6.0, importance=0.2, measured=3.0, usual=1.0),
        _reading("amount: shape", value=2.0, importance=0.2),
        _reading("merchant: shape", value=3.0, importance=0.5),
        _reading("merchant: missing", kind="feed", value=None),
        _reading(SEVERITY, value=0.0, state="WARN"),
        _reading(TRAFFIC, kind="feed", value=10.0, faults=["cents for euros"]),
        *more,
    ]
    fault = Incident(day=day, fault="unit", subject="amount", reason="cents for euros", evidence={})
    ledger.signals.record_day(config.name, "2", day, AS_OF, seen, [], [fault])


def test_champions_follow_each_other_and_one_step_back_is_known(config: Config, ledger: Ledger) -> None:
    for n, (action, version) in enumerate((("promote", "1"), ("promote", "2"), ("rollback", "1"), ("promote", "3"))):
        _move(config, ledger, action, version, AS_OF + n * ONE)
    ledger.decisions.record(decision(model=config.name, challenger_version="3", champion_version="1", evidence=EVIDENCE))
    story = model(config)
    assert [(reign.version, reign.until) for reign in story.reigns] == [
        ("1", AS_OF + ONE),
        ("2", AS_OF + 2 * ONE),
        ("1", AS_OF + 3 * ONE),
        ("3", None),
    ]
    assert story.rollback_to == "1"
    met = story.meeting
    assert met is not None
    assert [(each.name, each.decides, each.low) for each in met.metrics] == [
        ("average precision", True, 0.05),
        ("ROC AUC", False, None),
    ]
    assert (met.guardrails[0].sentence, met.guardrails[0].gain) == ("fast enough", None)
    assert (met.slices[0].group, met.slices[0].status) == ("under 50", "vetoed")


def test_the_first_champion_has_nothing_before_it(config: Config, ledger: Ledger) -> None:
    assert model(config).rollback_to is None
    _move(config, ledger, "promote", "1", AS_OF)
    assert model(config).rollback_to is None


def test_each_subject_shows_its_worst_signal_of_the_day_the_most_important_first(config: Config, ledger: Ledger) -> None:
    assert drift(config) is None
    _move(config, ledger, "promote", "2", AS_OF)
    seen = drift(config)
    assert seen is not None
    assert seen.days == ()
    _day(config, ledger, DAY)
    _day(config, ledger, DAY + ONE)
    seen = drift(config)
    assert seen is not None
    assert [(subject.name, subject.importance, subject.state) for subject in seen.subjects] == [
        ("merchant", 0.5, "OK"),
        ("amount", 0.2, "WARN"),
    ]
    worst = seen.subjects[1].cells[-1]
    assert (worst.signal, worst.ratio, seen.subjects[1].measured) == ("amount: location", 1.5, 3.0)
    assert (seen.state, seen.standing, [each.day for each in seen.incidents]) == (
        "WARN",
        ("cents for euros",),
        [DAY + ONE, DAY],
    )
    one = drift(config, days=1)
    assert one is not None
    assert one.days == (DAY + ONE,)


def test_realized_and_estimated_performance_stand_on_the_day_of_their_events(config: Config, ledger: Ledger) -> None:
    _move(config, ledger, "promote", "2", AS_OF)
    past = (DAY - 7 * ONE).isoformat()
    _day(
        config,
        ledger,
        DAY,
        _reading(f"{PERFORMANCE}average precision", "performance", value=5.0, state="WARN", day=past, measured=0.3, usual=0.5),
        _reading(f"{ESTIMATE}average precision", "estimate", value=0.45),
    )
    seen = drift(config)
    assert seen is not None
    (metric,) = seen.metrics
    assert (metric.name, metric.usual) == ("average precision", 0.5)
    first, last = metric.days
    assert (first.day, first.measured, first.estimated, first.loss, first.state) == (DAY - 7 * ONE, 0.3, None, 1.25, "WARN")
    assert (last.day, last.measured, last.estimated, last.loss) == (DAY, None, 0.45, None)


def test_a_request_is_told_with_the_verdict_that_it_came_to(config: Config, ledger: Ledger) -> None:
    asked = Request(
        model=config.name, key="k", trigger="on_demand", as_of=AS_OF, requested_by="ann", reason="I wonder", evidence={}
    )
    ledger.requests.submit(asked)
    story = requests(config)
    assert (story.open, story.requests[0].verdict) == (1, None)


def test_the_status_is_told_in_at_most_twenty_lines(config: Config, ledger: Ledger, tmp_path: Path, capsys) -> None:
    _move(config, ledger, "promote", "2", AS_OF)
    _day(config, ledger, DAY)
    ledger.decisions.record(decision(model=config.name, evidence=EVIDENCE))
    asked = Request(
        model=config.name, key="k", trigger="on_demand", as_of=AS_OF, requested_by="ann", reason="I wonder", evidence={}
    )
    ledger.requests.submit(asked)
    for n in range(30):
        deployments.land_text(config, f"Payments_{n}.csv", "in capitals")
    assert main(["status", "--config", str(tmp_path / "deployment.yaml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 20
    for told in (
        "champion      version 2",
        "drift         WARN",
        "feed          cents",
        "requests      1 wait",
        "27 more files",
    ):
        assert [line for line in lines if told in line], told
