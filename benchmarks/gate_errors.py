"""How often the promotion gate errs: on equal models, on better ones, and over simulated years of nightly runs.

1. The real gate judges challengers that are draws of the champion's own recipe: every promotion is false. Each gate counts
   twice, with the two in each other's places. Frauds come several to a card and errors are shared by a card's rows; from 30
   cards with a fraud, the fewest that the gate takes up, to 200.
2. It judges challengers whose true gain (on a sample of 30,000 cards with a fraud) is the minimum detectable effect that the
   gate claims on average: it should promote four in five.
3. Simulated years (see `benchmarks.nightly`): each night a new challenger meets the champion on the newest matured 14 days.
   Policies see the very same nights: ours (a lower bound at the deployment's alpha, so many days fresh, alpha relaxed when
   nothing was promoted for three weeks), ours without the relaxed alpha (`_fresh_only`), the plain lower bound every night
   (`_plain`), and "the metric is higher" every night (`_higher`).

Keys of the last line: `false_promotion_rate`, `higher_metric_rate` (how often an equal challenger's figure is higher),
`coverage` (of the two-sided 95 % interval, equal models), `coverage_better` (better models), `power`, `claimed_over_true` (the
claimed effect over the true gain that was simulated), `error_ratio` (the bootstrap's standard error over the influence
function's); by policy `promotions_per_year`, `worse_promotions_per_year` (to a truly worse model), `champion_quality` (true
average precision, mean of the nights) and `quality_over_plain`. A key with `_se` is the Monte Carlo standard error of another.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import Pool

import numpy as np

from benchmarks import nightly
from benchmarks.nightly import Policy, World, Year
from benchmarks.payments import gate, payments
from ml.config import load
from ml.evaluation.bootstrap import closed_form
from ml.evaluation.gate import Outcome, Verdict
from ml.evaluation.metrics import average_precision
from ml.evaluation.statistics import AVERAGE_PRECISION, Ranking, cluster_codes

EQUAL_SIZES, BETTER_SIZES = (30, 45, 60, 90, 200), (60, 100, 200)
GAINS = (0.2, 0.35, 0.5, 0.65, 0.8)
LARGE = 30_000
FIRST = 1000
"""Number of the first simulated year; the deployment's rule was chosen on years below it."""
FIGURES = ("promotions_per_year", "worse_promotions_per_year", "champion_quality", "quality_over_plain")
WORLDS = [World(decay=decay, luck=luck) for decay in (0.0, 0.0133, 0.02, 0.03) for luck in (0.005, 0.01)]


def policies() -> dict[str, Policy]:
    """The policies that are compared, by the suffix of their keys; ours takes its figures from the demo's deployment file."""
    told = load("config/demo.yaml").gate
    only = Policy(told.alpha.value, int(told.fresh.value))
    assert told.aged is not None
    ours = replace(only, relaxed=told.aged.alpha.value, old=int(told.aged.after.value))
    return {"": ours, "_fresh_only": only, "_plain": Policy(0.05), "_higher": Policy(None)}


def true_gain(gain: float) -> float:
    """Gain in average precision on a large sample, when the challenger scores frauds higher by `gain`."""
    labels, champion, challenger, _ = payments(np.random.default_rng(20250702), LARGE, gain)
    return average_precision(labels, challenger) - average_precision(labels, champion)


def claimed(size: int, gain: float) -> float:
    """Minimum detectable effect that is claimed on average over 80 draws."""
    rng = np.random.default_rng([20250703, size])
    told = []
    for _ in range(80):
        labels, champion, challenger, card = payments(rng, size, gain)
        codes, count = cluster_codes(card, len(labels))
        old, new = (Ranking(labels, scores, codes, count) for scores in (champion, challenger))
        told.append(closed_form(old, new, count, alpha=0.05)[AVERAGE_PRECISION.name].minimum_detectable_effect)
    return float(np.mean(told))


def detectable(size: int, truths: Sequence[float]) -> tuple[float, float]:
    """The gain at which true gain and claimed effect are the same, in log odds and in average precision."""
    slope, start = np.polyfit(GAINS, [claimed(size, gain) for gain in GAINS], 1)
    gain = float(np.interp(0, np.subtract(truths, slope * np.array(GAINS) + start), GAINS))
    return gain, float(np.interp(gain, GAINS, truths))


def judged(asked: tuple[int, float, int]) -> Verdict:
    """The gate's verdict on one draw: number of cards with a fraud, gain in log odds, seed."""
    logging.disable(logging.WARNING)
    size, gain, seed = asked
    return gate(np.random.default_rng([20250704, size, seed]), seed, size, gain)


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


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate_errors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gates", type=int, default=2000, help="gates on equal models, and as many on better ones")
    parser.add_argument("--years", type=int, default=30, help="simulated years")
    parser.add_argument("--sensitivity", action="store_true", help="simulate the years in worlds of other decay and luck too")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    begun = time.perf_counter()
    told: dict[str, object] = {}
    with Pool(asked.processes) as pool:
        truths = pool.map(true_gain, GAINS, chunksize=1)
        effects = pool.map(partial(detectable, truths=truths), BETTER_SIZES, chunksize=1)
        equal = pool.map(judged, _gates(EQUAL_SIZES, [0.0] * len(EQUAL_SIZES), asked.gates), chunksize=20)
        wanted = _gates(BETTER_SIZES, [gain for gain, _ in effects], asked.gates)
        better = pool.map(judged, wanted, chunksize=20)
        truth = dict(effects)
        passed = time.perf_counter() - begun
        print(f"{len(equal)} gates on equal models, {len(better)} on better ones: {passed:.0f} s", flush=True)
        for size, (_, true) in zip(BETTER_SIZES, effects, strict=True):
            mine = [v for v, (cards, *_) in zip(better, wanted, strict=True) if cards == size]
            effect = np.mean([v.minimum_detectable_effect for v in mine])
            power = np.mean([v.outcome is Outcome.PROMOTE for v in mine])
            print(f"  {size:3} cards with a fraud: true gain {true:.4f}, claimed {effect:.4f}, found in {power:.1%}")
        shares = {
            "false_promotion_rate": share([*(v.outcome is Outcome.PROMOTE for v in equal), *(mirrored(v) for v in equal)]),
            "higher_metric_rate": share([v.primary.gain > 0 for v in equal]),
            "coverage": share([covers(v, 0.0) for v in equal]),
            "coverage_better": share([covers(v, truth[gain]) for v, (_, gain, _) in zip(better, wanted, strict=True)]),
            "power": share([v.outcome is Outcome.PROMOTE for v in better]),
        }
        for name, (mean, error) in shares.items():
            told |= {name: round(mean, 4), f"{name}_se": round(error, 4)}
        ratios = [v.minimum_detectable_effect / truth[gain] for v, (_, gain, _) in zip(better, wanted, strict=True)]
        told["claimed_over_true"] = round(float(np.mean(ratios)), 4)
        errors = [v.primary.standard_error / v.primary.standard_error_influence for v in (*equal, *better)]
        told["error_ratio"] = round(float(np.mean(errors)), 4)
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
    print(json.dumps({"gates": len(equal), "years": asked.years, **told}))


def _gates(sizes: Sequence[int], gains: Sequence[float], count: int) -> list[tuple[int, float, int]]:
    """So many gates in all, shared among the sizes."""
    return [(size, gain, seed) for size, gain in zip(sizes, gains, strict=True) for seed in range(-(-count // len(sizes)))]


if __name__ == "__main__":
    main()
