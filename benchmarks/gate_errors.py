"""How often the promotion gate errs: on equal models, on better ones, and over simulated years of nightly runs.

1. The real gate judges challengers that are draws of the champion's own recipe: every promotion is false. Each gate counts
   twice, with the two in each other's places. Frauds come several to a card and errors are shared by a card's rows; from 30
   cards with a fraud, the fewest that the gate takes up, to 200. Days have no effect.
2. It judges challengers whose true gain (on a sample of 30,000 cards with a fraud) is the minimum detectable effect that the
   gate claims on average: it should promote four in five.
3. The same two where days have an effect: the challenger is better on some days and worse on others, by a standard deviation
   of .3 to 1.2 in log odds of a fraud's score, in windows of 7, 14 and 21 days.
4. Simulated years (see `benchmarks.nightly`): each night a new challenger meets the champion on the newest matured 14 days.
   Policies see the very same nights: ours (a lower bound at the deployment's alpha, so many days fresh, alpha relaxed when
   nothing was promoted for three weeks), ours without the relaxed alpha (`_fresh_only`), the plain lower bound every night
   (`_plain`), and "the metric is higher" every night (`_higher`).

Keys of the last line: `false_promotion_rate`, `higher_metric_rate` (how often an equal challenger's figure is higher),
`coverage` (of the two-sided 95 % interval, equal models), `coverage_better` (better models), `power`, `claimed_over_true` (the
claimed effect over the true gain that was simulated), `error_ratio` (the bootstrap's standard error over the influence
function's); the same where days have an effect, with the suffix `_days`; by policy `promotions_per_year`,
`worse_promotions_per_year` (to a truly worse model), `champion_quality` (true average precision, mean of the nights) and
`quality_over_plain`. A key with `_se` is the Monte Carlo standard error of another.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from multiprocessing import Pool as make_pool
from multiprocessing.pool import Pool

import numpy as np

from benchmarks import nightly
from benchmarks.nightly import Policy, World, Year
from benchmarks.payments import gate, payments
from ml.config import load
from ml.evaluation.bootstrap import closed_form
from ml.evaluation.clusters import Clusters
from ml.evaluation.gate import Outcome, Verdict
from ml.evaluation.metrics import average_precision
from ml.evaluation.statistics import AVERAGE_PRECISION, Ranking


@dataclass(frozen=True)
class Setting:
    """Number of cards with a fraud, length of the window, and how much the models' difference varies from day to day."""

    fraud_cards: int
    days: int = 7
    by_day: float = 0.0


EQUAL = {
    "": [Setting(cards) for cards in (30, 45, 60, 90, 200)],
    "_days": [Setting(*of) for of in product((30, 60, 200), (7, 14, 21), (0.3, 0.6, 1.2))],
}
BETTER = {
    "": [Setting(cards) for cards in (60, 100, 200)],
    "_days": [Setting(100, 7, 0.3), Setting(60, 14, 0.6), Setting(200, 7, 0.6), Setting(200, 21, 0.3), Setting(200, 14, 1.2)],
}
GAINS = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.2, 1.5)
LARGE, LARGE_DAYS = 30_000, 10_000
FIRST = 1000
"""Number of the first simulated year; the deployment's rule was chosen on years below it."""
FIGURES = ("promotions_per_year", "worse_promotions_per_year", "champion_quality", "quality_over_plain")
WORLDS = [World(decay=decay, luck=luck) for decay in (0.0, 0.0133, 0.02, 0.03) for luck in (0.005, 0.01)]
WORLDS.append(World(by_day=0.3))


def policies() -> dict[str, Policy]:
    """The policies that are compared, by the suffix of their keys; ours takes its figures from the demo's deployment file."""
    told = load("config/demo.yaml").gate
    only = Policy(told.alpha.value, int(told.fresh.value))
    assert told.aged is not None
    ours = replace(only, relaxed=told.aged.alpha.value, old=int(told.aged.after.value))
    return {"": ours, "_fresh_only": only, "_plain": Policy(0.05), "_higher": Policy(None)}


def true_gain(gain: float, by_day: float) -> float:
    """Gain in average precision on a large sample, when the challenger scores frauds higher by `gain`."""
    rng = np.random.default_rng(20250702)
    labels, champion, challenger, *_ = payments(rng, LARGE, gain, days=LARGE_DAYS, by_day=by_day)
    return average_precision(labels, challenger) - average_precision(labels, champion)


def claimed(setting: Setting, gain: float) -> float:
    """Minimum detectable effect that is claimed on average over 80 draws."""
    rng = np.random.default_rng([20250703, setting.fraud_cards])
    told = []
    for _ in range(80):
        labels, champion, challenger, card, day = payments(
            rng, setting.fraud_cards, gain, days=setting.days, by_day=setting.by_day
        )
        clusters = Clusters.of(card, day, labels)
        old, new = (Ranking(labels, scores, clusters) for scores in (champion, challenger))
        told.append(closed_form(old, new, clusters, alpha=0.05)[AVERAGE_PRECISION.name].minimum_detectable_effect)
    return float(np.mean(told))


def detectable(setting: Setting) -> tuple[float, float]:
    """The gain at which true gain and claimed effect are the same, in log odds and in average precision."""
    truths = [true_gain(gain, setting.by_day) for gain in GAINS]
    claims = np.polyval(np.polyfit(GAINS, [claimed(setting, gain) for gain in GAINS], 2), GAINS)
    gain = float(np.interp(0, np.subtract(truths, claims), GAINS))
    return gain, float(np.interp(gain, GAINS, truths))


def judged(asked: tuple[Setting, float, int]) -> Verdict:
    """The gate's verdict on one draw: the setting, gain in log odds, seed."""
    logging.disable(logging.WARNING)
    setting, gain, seed = asked
    rng = np.random.default_rng([20250704, setting.fraud_cards, setting.days, round(100 * setting.by_day), seed])
    return gate(rng, seed, setting.fraud_cards, gain, days=setting.days, by_day=setting.by_day)


def share(hits: Sequence[bool]) -> tuple[float, float]:
    """A share and its Monte Carlo standard error."""
    mean = float(np.mean(hits))
    return mean, float(np.sqrt(mean * (1 - mean) / len(hits)))


def mirrored(verdict: Verdict) -> bool:
    """Whether the champion would be promoted in the challenger's place: the same figures with the sign turned."""
    return verdict.primary.upper_bound < 0


def covers(verdict: Verdict, truth: float) -> bool:
    """Whether the two-sided interval holds the true gain."""
    low, high = verdict.primary.interval
    return low <= truth <= high


def of_years(years: Sequence[dict[str, Year]]) -> dict[str, float]:
    """Means over the years of each policy's figures, with their standard errors."""
    told: dict[str, float] = {}

    def tell(name: str, values: Sequence[float], digits: int) -> None:
        told[name] = round(float(np.mean(values)), digits)
        told[f"{name}_se"] = round(float(np.std(values, ddof=1) / np.sqrt(len(values))), digits)

    for name in years[0]:
        mine = [year[name] for year in years]
        over = [year[name].quality - year["_plain"].quality for year in years]
        figures: list[Sequence[float]] = [
            [m.promotions for m in mine],
            [m.worse for m in mine],
            [m.quality for m in mine],
            over,
        ]
        for figure, values, digits in zip(FIGURES, figures, (2, 2, 4, 5), strict=True):
            tell(f"{figure}{name}", values, digits)
    return told


def of_gates(pool: Pool, suffix: str, gates: int) -> dict[str, float]:
    """The figures of gates on equal models and on better ones, with or without an effect of days."""
    effects = pool.map(detectable, BETTER[suffix], chunksize=1)
    wanted = _gates(EQUAL[suffix], [0.0] * len(EQUAL[suffix]), gates)
    equal = pool.map(judged, wanted, chunksize=20)
    for setting in EQUAL[suffix]:
        mine = [v for v, (of, *_) in zip(equal, wanted, strict=True) if of == setting]
        rate, error = share(_promoted(mine))
        covered = np.mean([covers(v, 0.0) for v in mine])
        print(f"  {setting}: false promotions {rate:.3f} ± {error:.3f}, coverage {covered:.3f}")
    asked = _gates(BETTER[suffix], [gain for gain, _ in effects], gates)
    better = pool.map(judged, asked, chunksize=20)
    truth = {setting: true for setting, (_, true) in zip(BETTER[suffix], effects, strict=True)}
    for setting in BETTER[suffix]:
        mine = [v for v, (of, *_) in zip(better, asked, strict=True) if of == setting]
        effect = np.mean([v.minimum_detectable_effect for v in mine])
        power, error = share([v.outcome is Outcome.PROMOTE for v in mine])
        covered = np.mean([covers(v, truth[setting]) for v in mine])
        print(
            f"  {setting}: true gain {truth[setting]:.4f}, claimed {effect:.4f}, found in {power:.1%} ± {error:.1%}, "
            f"coverage {covered:.3f}"
        )
    shares = {
        "false_promotion_rate": share(_promoted(equal)),
        "higher_metric_rate": share([v.primary.gain > 0 for v in equal]),
        "coverage": share([covers(v, 0.0) for v in equal]),
        "coverage_better": share([covers(v, truth[of]) for v, (of, *_) in zip(better, asked, strict=True)]),
        "power": share([v.outcome is Outcome.PROMOTE for v in better]),
    }
    told: dict[str, float] = {}
    for name, (mean, error) in shares.items():
        told |= {f"{name}{suffix}": round(mean, 4), f"{name}{suffix}_se": round(error, 4)}
    means = {
        "claimed_over_true": [v.minimum_detectable_effect / truth[of] for v, (of, *_) in zip(better, asked, strict=True)],
        "error_ratio": [v.primary.standard_error / v.primary.standard_error_influence for v in (*equal, *better)],
    }
    return told | {f"{name}{suffix}": round(float(np.mean(values)), 4) for name, values in means.items()}


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate_errors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gates", type=int, default=2000, help="gates on equal models, and as many on better ones")
    parser.add_argument("--years", type=int, default=30, help="simulated years")
    parser.add_argument("--sensitivity", action="store_true", help="simulate the years in other worlds too")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    begun = time.perf_counter()
    told: dict[str, object] = {}
    with make_pool(asked.processes) as pool:
        for suffix in EQUAL:
            told |= of_gates(pool, suffix, asked.gates)
            print(f"gates{suffix.replace('_', ' with an effect of ')}: {time.perf_counter() - begun:.0f} s", flush=True)
        worlds = [World(), *(WORLDS if asked.sensitivity else [])]
        for number, world in enumerate(worlds):
            numbers = range(FIRST, FIRST + asked.years)
            years = pool.map(partial(nightly.run, world=world, policies=policies()), numbers, chunksize=1)
            found = of_years(years)
            print(f"{asked.years} years, {world}: {time.perf_counter() - begun:.0f} s", flush=True)
            for name in years[0]:
                promoted, worse, quality, over = (found[f"{figure}{name}"] for figure in FIGURES)
                _, worse_se, _, over_se = (found[f"{figure}{name}_se"] for figure in FIGURES)
                print(
                    f"  {name.removeprefix('_') or 'ours':10} {promoted:6.1f} promotions, {worse:5.2f} ± {worse_se:.2f} worse, "
                    f"quality {quality:.4f}, over plain {over:+.4f} ± {over_se:.4f}"
                )
            if not number:
                told |= found
    print(json.dumps({"gates": asked.gates, "years": asked.years, **told}))


def _promoted(equal: Sequence[Verdict]) -> list[bool]:
    """False promotions, each gate with either model as the challenger."""
    return [*(v.outcome is Outcome.PROMOTE for v in equal), *(mirrored(v) for v in equal)]


def _gates(settings: Sequence[Setting], gains: Sequence[float], count: int) -> list[tuple[Setting, float, int]]:
    """So many gates in all, shared among the settings."""
    each = range(-(-count // len(settings)))
    return [(setting, gain, seed) for setting, gain in zip(settings, gains, strict=True) for seed in each]


if __name__ == "__main__":
    main()
