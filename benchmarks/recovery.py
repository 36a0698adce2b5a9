"""How soon a model is as good as it can be after the world has changed: policies over the demo's stream with its drift.

Each seed is another bank and another stream, in which payments become dearer and a fraud appears that nobody had seen, on the
day after the first champion. Policies are replayed through the real gate (`ml.replay`), with what is known on each day:

- `never`: the first champion stays;
- `before`: the judged model itself takes office, whose newest row is weeks old; new data ask once a week, alarms every third;
- `default`: as `config/demo.yaml` has it;
- `oracle`: the same trees with all labels at once, fitted weekly (`ml.replay.oracle`).

The last line is a JSON object: `never`, `before`, `default` and `oracle` are means over seeds of the average precision a day,
over the same matured days since the drift; `regret_share` is (oracle - default) / (oracle - before), with its 95 % interval by
a bootstrap over seeds and over weeks within each; `days_to_90` and `days_to_90_before` are the median number of days from the
drift until every week has 90 % of the oracle's (null: not reached by half of the seeds); `worse` and `worse_before` count moves
to a version that was worse on the 14 days after.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from ml.config import Config, SimulationFeed, load
from ml.replay.intervals import share_interval
from ml.replay.policy import Policy
from ml.replay.replay import Course, Replay, replay
from ml.replay.scores import Figures, mean

BEFORE = "any:judged:retraining.new_data=7:retraining.cooldown=21:retraining.positives=0"
LAST = dt.date(2025, 7, 28)
"""Eleven weeks of matured days after the drift."""
POLICIES = {"never": "never", "before": BEFORE, "default": "any"}


def deployment(seed: int, customers: int | None, terminals: int | None, iterations: int | None, trials: int) -> Config:
    """The demo's deployment with another seed, and a smaller bank or fewer trees where it has to be cheaper.

    The golden set of a smaller bank is a larger share of it, or it would hold too few frauds to promote anything.
    """
    config = load("config/demo.yaml")
    assert isinstance(config.feed, SimulationFeed)
    feed = config.feed.model_copy(
        update={
            "seed": config.feed.seed + seed,
            "customers": customers or config.feed.customers,
            "terminals": terminals or config.feed.terminals,
        }
    )
    golden = config.gate.golden
    assert golden is not None
    share = golden.share.value * config.feed.customers / feed.customers
    golden = golden.model_copy(update={"share": golden.share.model_copy(update={"value": share})})
    gate = config.gate.model_copy(update={"golden": golden})
    model = config.training.model
    model = model.model_copy(update={"iterations": iterations or model.iterations})
    tuning = config.training.tuning if trials else None
    training = config.training.model_copy(update={"model": model, "tuning": tuning})
    return config.model_copy(update={"feed": feed, "gate": gate, "training": training})


def figures(replays: list[Replay]) -> dict[str, object]:
    """The keys of the last line; see the module."""
    of = {name: [course(found, name) for found in replays] for name in POLICIES}
    since = [[day for day in found.days if found.drift is None or day >= found.drift] for found in replays]

    def over(courses: list[dict[dt.date, float | None]]) -> float:
        return statistics.fmean(
            value for each, days in zip(courses, since, strict=True) if (value := mean(each, days)) is not None
        )

    def regret(name: str) -> list[np.ndarray]:
        return [
            on(found.oracle, days) - on(each.average_precision, days)
            for found, each, days in zip(replays, of[name], since, strict=True)
        ]

    told = {name: over([each.average_precision for each in courses]) for name, courses in of.items()}
    told["oracle"] = over([found.oracle for found in replays])
    return {
        **{name: round(value, 4) for name, value in told.items()},
        "regret_share": round((told["oracle"] - told["default"]) / (told["oracle"] - told["before"]), 3),
        "regret_share_interval": [round(bound, 3) for bound in share_interval(regret("default"), regret("before"))],
        "days_to_90": median([each.days_to_90 for each in of["default"]]),
        "days_to_90_before": median([each.days_to_90 for each in of["before"]]),
        "worse": sum(each.worse for each in of["default"]),
        "worse_before": sum(each.worse for each in of["before"]),
        "days": sum(map(len, since)),
        "seeds": len(replays),
    }


def on(values: Figures, days: list[dt.date]) -> np.ndarray:
    """Average precision on days that all have one, shape (n_days,)."""
    return np.array([values[day] for day in days], dtype=np.float64)


def course(found: Replay, name: str) -> Course:
    """The course of one of the policies."""
    return next(each for each in found.courses if each.policy == POLICIES[name])


def median(days: list[int | None]) -> float | None:
    """Median of numbers of days, of which None is longer than any other."""
    middle = statistics.median_high([float("inf") if each is None else each for each in days])
    return None if middle == float("inf") else middle


def weeks(found: Replay) -> str:
    """Average precision by week since the drift, as a table of text."""
    days = [day for day in found.days if found.drift is None or day >= found.drift]
    rows = {name: course(found, name).average_precision for name in POLICIES} | {"oracle": found.oracle}
    told = []
    for name, values in rows.items():
        by_week = [mean(values, days[start : start + 7]) for start in range(0, len(days), 7)]
        told.append(f"{name:8} " + " ".join("   -" if value is None else f"{value:.3f}" for value in by_week))
    return "\n".join(told)


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recovery", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="streams (default: %(default)s)")
    parser.add_argument(
        "--to", type=dt.date.fromisoformat, default=dt.date(2025, 7, 28), help="last night (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=2, help="policies at a time (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=10, help="trials of a search; 0 for none (default: %(default)s)")
    parser.add_argument("--customers", type=int, help="of a smaller bank (default: the demo's)")
    parser.add_argument("--terminals", type=int, help="of a smaller bank (default: the demo's)")
    parser.add_argument("--iterations", type=int, help="fewer trees (default: the demo's)")
    parser.add_argument(
        "--home", type=Path, help="keep what is replayed; a stopped run goes on there (default: a temporary one)"
    )
    asked = parser.parse_args()
    policies = [Policy.parse(name) for name in POLICIES.values()]
    with tempfile.TemporaryDirectory() as temporary:
        replays = []
        for seed in range(asked.seeds):
            config = deployment(seed, asked.customers, asked.terminals, asked.iterations, asked.trials)
            found = replay(
                config,
                policies,
                (asked.home or Path(temporary)) / f"seed {seed}",
                None,
                asked.to,
                workers=asked.workers,
                trials=max(asked.trials, 1),
                say=lambda text: print(text, file=sys.stderr, flush=True),
            )
            replays.append(found)
            print(f"seed {seed}, by week since {found.drift}:\n{weeks(found)}\n{json.dumps(figures([found]))}", flush=True)
    print(json.dumps(figures(replays)))


if __name__ == "__main__":
    main()
