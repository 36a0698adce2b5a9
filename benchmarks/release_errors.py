"""How often a release steps back from a version that is as good as the champion, and how soon from one that is not.

Simulated releases by the default plan, looked at every night. Customers have several events and a common error of each version;
a day moves the scores of all. Analysts answer an alert within a day; a fraud that was let pass is reported by its customer,
half of them after 3.5 days, nine in ten after 7.4, as in the demo. The new version is another fit of the same quality (A/A), or
has one fault. Two kinds are played in a bank whose labels mature after 30 days and whose last step is held for ten days: an
equal version, and one that misses frauds, with as many alerts as before. From the scores to the decision everything is the
project's own code. The last line is one JSON object.

    python -m benchmarks.release_errors --releases 500
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import time
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from ml.config.release import Release as Plan
from ml.decision.release import decide
from ml.decision.traffic import UNKNOWN, Seen
from ml.evaluation.release import expected_scores
from ml.ledger.releases import ENDS, Course, Opened, ReleaseMove

BEGIN = dt.datetime(2025, 5, 1, 2, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
CUSTOMERS, A_DAY, DELAY, FRAUD = 3000, 4000, 7, 0.01
ALERTS = 0.01
REPORTED = (math.log(3.5), math.log(7.4 / 3.5) / 1.2816)
"""Of the logarithm of the days after which a missed fraud is reported: mean and standard deviation."""
LATE = {"delay": 30.0, "hours": 240.0}
"""Labels mature after so many days, and the last step is held for so many hours."""
FAULTS: dict[str, dict[str, float]] = {
    "none": {},
    "none, late": LATE,
    "slow": {"slow": 0.3},
    "raises": {"errors": 0.02},
    "shifted": {"shift": 1.0},
    "alerts": {"alerts": 4.0},
    "worse": {"signal": 1.2},
    "misses": {"misses": 0.9} | LATE,
}

EQUAL = ("none", "none, late")


class World:
    """A bank with two versions of a model."""

    def __init__(self, seed: int, fault: dict[str, float]) -> None:
        self._random, self._fault = np.random.default_rng(seed), fault
        self._common = {who: self._random.normal(0, 0.5, CUSTOMERS) for who in ("new", "old")}
        self._place = self._random.random(CUSTOMERS)
        gate = self._scores(20_000, {})
        self.expected = expected_scores(gate["new_score"], gate["old_score"])
        self._threshold = {who: float(np.quantile(gate[f"{who}_score"], 1 - ALERTS)) for who in ("new", "old")}
        if "alerts" in fault:
            self._threshold["new"] = float(np.quantile(gate["new_score"], 1 - ALERTS * fault["alerts"]))
        if "misses" in fault:
            self._threshold["new"] = float(np.quantile(self._scores(20_000, fault)["new_score"], 1 - ALERTS))

    def _scores(self, rows: int, fault: dict[str, float]) -> dict[str, np.ndarray]:
        draw = self._random
        customer, label = draw.integers(0, CUSTOMERS, rows), draw.random(rows) < FRAUD
        found: dict[str, np.ndarray] = {"customer": customer, "label": label}
        day = {who: draw.normal(0, 0.1) for who in ("new", "old")}
        for who in ("new", "old"):
            signal = fault.get("signal", 3.0) if who == "new" else 3.0
            seen = label & (draw.random(rows) >= fault.get("misses", 0.0)) if who == "new" else label
            odds = -5 + signal * seen + self._common[who][customer] + draw.normal(0, 1, rows) + day[who]
            found[f"{who}_score"] = expit(odds + (fault.get("shift", 0.0) if who == "new" else 0.0))
        return found

    def day(self, number: int, share: float) -> pd.DataFrame:
        """The events of a day, with the scores of both versions."""
        draw, found = self._random, self._scores(A_DAY, self._fault)
        rows = pd.DataFrame(found)
        rows["key"], rows["day"], rows["share"] = rows["customer"], number, share
        place = self._place[found["customer"]]
        rows["arm"] = np.select([place < share, place < 2 * share], ["canary", "control"], "rest")
        for who in ("new", "old"):
            slow = self._fault.get("slow", 0.02) if who == "new" else 0.02
            rows[f"{who}_milliseconds"] = np.where(draw.random(A_DAY) < slow, 30.0, 1.0)
            alert = rows[f"{who}_score"] >= self._threshold[who]
            rows[f"{who}_decision"] = np.where(alert, "alert", "pass")
        failed = draw.random(A_DAY) < self._fault.get("errors", 0.0005)
        rows["new_error"] = pd.Series("failed", index=rows.index).where(failed)
        rows.loc[failed, ["new_score"]] = np.nan
        answers = np.where((rows["arm"] == "canary") & ~failed, rows["new_decision"], rows["old_decision"])
        happened = number - draw.random(A_DAY)
        rows["reported"] = happened + np.where(answers == "alert", 1.0, draw.lognormal(*REPORTED, A_DAY))
        return rows


def play(seed: int, fault: dict[str, float]) -> tuple[str, int, int, str]:
    """One release, looked at every night: how it ended, at which step, after how many days, and why."""
    world, plan = World(seed, fault), _plan(fault)
    days: list[pd.DataFrame] = []
    course = Course(_opened(plan), ())
    for number in range(1, int(plan.patience.value) + 2):
        step, as_of = plan.steps[course.step], BEGIN + number * DAY
        days.append(world.day(number, step.share / 100))
        rows = pd.concat(days, ignore_index=True)
        rows["positive"] = rows["label"] & (rows["reported"] <= number)
        rows["label"] = np.where(rows["day"] <= number - fault.get("delay", DELAY), rows["label"].astype(np.int64), UNKNOWN)
        seen = Seen(rows)
        checks = seen.checks(plan, course.step, world.expected)
        requests, hours = seen.requests(step.share / 100), (as_of - course.began).total_seconds() / 3600
        word, why = decide(course, plan, checks, requests, hours, as_of)
        if word in ENDS:
            return word, course.step, number, why
        course = Course(course.release, (*course.moves, _moved(course, word, as_of, why)))
    raise AssertionError("patience ends every release")


def _plan(fault: dict[str, float]) -> Plan:
    plan = Plan()
    *before, last = plan.steps
    return plan.model_copy(update={"steps": [*before, last.model_copy(update={"hours": fault.get("hours", last.hours)})]})


def _opened(plan: Plan) -> Opened:
    return Opened(
        model="simulated",
        version="2",
        champion="1",
        judgement="",
        hashes={},
        plan=plan.model_dump(mode="json"),
        expected={},
        as_of=BEGIN,
        actor="",
        reason="",
        run_id="",
        id=1,
        recorded_at=BEGIN,
    )


def _moved(course: Course, word: Any, as_of: dt.datetime, why: str) -> ReleaseMove:
    step = course.step + (word == "advanced")
    number = len(course.moves) + 1
    return ReleaseMove(
        release=1, sequence=number, word=word, step=step, as_of=as_of, actor="", reason=why, evidence={}, run_id=str(number)
    )


def main() -> None:
    """Play releases of each kind; equal versions as many as asked for, each fault a tenth of that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=500)
    asked = parser.parse_args()
    begun, figures = time.perf_counter(), dict[str, float]()
    for kind, fault in FAULTS.items():
        name = kind.replace(", ", "_")
        count = asked.releases if kind in EQUAL else max(asked.releases // 10, 1)
        played = [play(seed, fault) for seed in range(count)]
        back = [each for each in played if each[0] == "stepped back"]
        finished = [each for each in played if each[0] == "finished"]
        why = Counter(each[3].partition(":")[0] for each in back)
        figures[f"{name}_stepped_back"] = len(back) / count
        figures[f"{name}_finished"] = len(finished) / count
        if back:
            figures[f"{name}_days"] = float(np.median([each[2] for each in back]))
        if finished:
            figures[f"{name}_days_to_full"] = float(np.median([each[2] for each in finished]))
        steps = dict(Counter(each[1] for each in back))
        ended = dict(Counter(each[0] for each in played))
        print(f"{kind:10} {count} releases: {ended}; stepped back for {dict(why)} at steps {steps}", flush=True)
        if kind in EQUAL:
            figures[f"{name}_stepped_back_se"] = (len(back) * (count - len(back)) / count**3) ** 0.5
    print(json.dumps(figures | {"releases": asked.releases, "seconds": round(time.perf_counter() - begun, 1)}))


if __name__ == "__main__":
    main()
