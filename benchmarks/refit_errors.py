"""What comes into office in simulated half-years, when the gate judges recipes and refits of what it judged score.

The world is that of `benchmarks.nightly`: payments by day, frauds several to a card, models whose true quality is known. A
model has a recipe here (features, settings, kind of model) with a quality of its own, beside its luck and the age of its rows.
Every third night a challenger is trained, seven in ten times with the recipe of the champion, else with one of two others. It
meets the champion on the matured window as the gate has it: neither was fitted on these days. Two policies see such nights:

- `judged`: a challenger whose gain is above 0 at the deployment's alpha takes office as it was judged;
- `refit`: its recipe takes office, fitted on everything with labels. A champion whose recipe comes again is refreshed in the
  same way without a gain, unless the challenger was shown to be worse (its upper bound is below 0).

What a refit has to agree on with the judged model is left out: here every refit is a sound one.

Keys of the last line, by policy: `promotions` and `refreshes` a year, `worse_recipes` a year (promotions to a recipe that is
truly worse) and `quality` (true average precision of what scores, mean of the nights); `gain`, the quality of `refit` over
that of `judged`; each with the suffix `_se` for its standard error over half-years; the same with the suffix `_ageing` where
models lose quality as the world moves on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool as make_pool

import numpy as np

from benchmarks.nightly import LABEL_DELAY, LAG, WINDOW, Model, Stream, World, meet
from ml.config import load
from ml.evaluation.bootstrap import student_quantile
from ml.evaluation.reuse import DAY

NIGHTS, EVERY = 182, 3
SAME_RECIPE = 0.7
RECIPES = 3
SPREAD = 0.01
"""Standard deviation of the average precision from recipe to recipe."""
WORLDS = {"": World(decay=0.0), "_ageing": World()}
POLICIES = ("judged", "refit")
YEAR = 365
FIGURES = ("promotions", "refreshes", "worse_recipes", "quality")


class Fitted(Model):
    """A model of a recipe."""

    def __init__(self, stream: Stream, world: World, seed: list[int], trained_until: int, recipe: int, offset: float) -> None:
        super().__init__(stream, world, seed, trained_until)
        self.recipe, self.offset = recipe, offset

    def quality(self, day: int) -> float:
        """True average precision on a day."""
        return super().quality(day) + self.offset


@dataclass
class Office:
    """What scores, the model by which it was judged, and what happened so far."""

    judged: Fitted
    scoring: Fitted
    since: int = 0
    promotions: int = 0
    refreshes: int = 0
    worse_recipes: int = 0

    def promote(self, challenger: Fitted, scoring: Fitted, night: int) -> None:
        """A challenger was better beyond chance."""
        self.promotions += 1
        self.worse_recipes += challenger.offset < self.judged.offset
        self.judged, self.scoring, self.since = challenger, scoring, night

    def refresh(self, challenger: Fitted, scoring: Fitted, night: int) -> None:
        """A challenger of the champion's recipe did no harm."""
        self.refreshes += 1
        self.judged, self.scoring, self.since = challenger, scoring, night


def half_year(seed: int, world: World, policy: str) -> dict[str, float]:
    """The figures of a policy in one half-year, those that are counted by the year."""
    gate = load("config/demo.yaml").gate
    rng = np.random.default_rng([20251128, seed])
    offsets = SPREAD * rng.normal(size=RECIPES)
    stream = Stream(seed, NIGHTS + LAG)

    def fitted(number: int, until: int, recipe: int) -> Fitted:
        return Fitted(stream, world, [seed, number], until, recipe, offsets[recipe])

    first = fitted(0, -LABEL_DELAY, 0)
    office = Office(first, first if policy == "judged" else fitted(1, LAG - LABEL_DELAY, 0))
    quality = []
    for night in range(NIGHTS):
        if night % EVERY == 0:
            recipe = _recipe(rng, office.judged.recipe)
            challenger = fitted(2 * night + 2, night - LABEL_DELAY, recipe)
            refit = fitted(2 * night + 3, night + LAG - LABEL_DELAY, recipe)
            found = meet(stream, range(night, night + WINDOW), {office.judged}, challenger)[office.judged]
            alpha = gate.alpha_of("schedule", (night - office.since) * DAY)
            reach = found.standard_error * student_quantile(1 - alpha, found.degrees_of_freedom)
            harm = found.gain < -found.standard_error * student_quantile(1 - gate.alpha.value, found.degrees_of_freedom)
            if found.gain > reach:
                office.promote(challenger, challenger if policy == "judged" else refit, night)
            elif policy == "refit" and recipe == office.judged.recipe and not harm:
                office.refresh(challenger, refit, night)
        quality.append(office.scoring.quality(night + LAG))
    by_year = YEAR / NIGHTS
    counts = {name: by_year * getattr(office, name) for name in FIGURES[:-1]}
    return counts | {"quality": float(np.mean(quality))}


def _recipe(rng: np.random.Generator, champions: int) -> int:
    """The recipe of the next challenger."""
    other = int(rng.integers(1, RECIPES))
    return champions if rng.random() < SAME_RECIPE else (champions + other) % RECIPES


def figures(found: dict[str, list[dict[str, float]]], suffix: str) -> Iterator[tuple[str, float]]:
    """Means over half-years with their standard errors."""
    values = {f"{policy}_{name}": [of[name] for of in found[policy]] for policy in POLICIES for name in FIGURES}
    values["gain"] = list(np.subtract(values["refit_quality"], values["judged_quality"]))
    for name, of in values.items():
        yield f"{name}{suffix}", round(float(np.mean(of)), 4)
        yield f"{name}{suffix}_se", round(float(np.std(of, ddof=1) / np.sqrt(len(of))), 4)


def main() -> None:
    """Run the benchmark; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.refit_errors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half-years", type=int, default=200, help="simulated half-years (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    last: dict[str, float] = {}
    with make_pool(asked.processes) as pool:
        for suffix, world in WORLDS.items():
            found = {
                policy: pool.map(partial(half_year, world=world, policy=policy), range(asked.half_years), chunksize=1)
                for policy in POLICIES
            }
            of_world = dict(figures(found, suffix))
            print(f"{world}: {of_world}", flush=True)
            last |= of_world
    print(json.dumps({"half_years": asked.half_years, **last}))


if __name__ == "__main__":
    main()
