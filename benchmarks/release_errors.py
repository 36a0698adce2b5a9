"""How often a release steps back from a version that is as good as the champion, and how soon from one that is not.

Simulated releases by the default plan, looked at every night. Customers have several events and a common error of each version;
a day moves the scores of all. The new version is another fit of the same quality (A/A), or has one fault. From the scores to
the decision everything is the project's own code. The last line is one JSON object.

    python -m benchmarks.release_errors --releases 500
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
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
FAULTS: dict[str, dict[str, float]] = {
    "none": {},
    "slow": {"slow": 0.3},
    "raises": {"errors": 0.02},
    "shifted": {"shift": 1.0},
    "alerts": {"alerts": 4.0},
    "worse": {"signal": 1.2},
}


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

    def _scores(self, rows: int, fault: dict[str, float]) -> dict[str, np.ndarray]:
        draw = self._random
        customer, label = draw.integers(0, CUSTOMERS, rows), draw.random(rows) < FRAUD
        found: dict[str, np.ndarray] = {"customer": customer, "label": label}
        day = {who: draw.normal(0, 0.1) for who in ("new", "old")}
        for who in ("new", "old"):
            signal = fault.get("signal", 3.0) if who == "new" else 3.0
            odds = -5 + signal * label + self._common[who][customer] + draw.normal(0, 1, rows) + day[who]
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
        return rows


def play(seed: int, fault: dict[str, float]) -> tuple[str, int, int, str]:
    """One release, looked at every night: how it ended, at which step, after how many days, and why."""
    world, plan = World(seed, fault), Plan()
    days: list[pd.DataFrame] = []
    course = Course(_opened(plan), ())
    for number in range(1, int(plan.patience.value) + 2):
        step, as_of = plan.steps[course.step], BEGIN + number * DAY
        days.append(world.day(number, step.share / 100))
        rows = pd.concat(days, ignore_index=True)
        rows["label"] = np.where(rows["day"] <= number - DELAY, rows["label"].astype(np.int64), UNKNOWN)
        seen = Seen(rows)
        checks = seen.checks(plan, course.step, world.expected)
        requests, hours = seen.requests(step.share / 100), (as_of - course.began).total_seconds() / 3600
        word, why = decide(course, plan, checks, requests, hours, as_of)
        if word in ENDS:
            return word, course.step, number, why
        course = Course(course.release, (*course.moves, _moved(course, word, as_of, why)))
    raise AssertionError("patience ends every release")


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
    """Play releases of each kind; A/A as many as asked for, each fault a tenth of that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=500)
    asked = parser.parse_args()
    begun, figures = time.perf_counter(), dict[str, float]()
    for name, fault in FAULTS.items():
        count = asked.releases if name == "none" else max(asked.releases // 10, 1)
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
        print(f"{name:8} {count} releases: {ended}; stepped back for {dict(why)} at steps {steps}", flush=True)
    figures["none_stepped_back_se"] = (
        figures["none_stepped_back"] * (1 - figures["none_stepped_back"]) / asked.releases
    ) ** 0.5
    print(json.dumps(figures | {"releases": asked.releases, "seconds": round(time.perf_counter() - begun, 1)}))


if __name__ == "__main__":
    main()
