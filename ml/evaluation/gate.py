"""The promotion gate: is the challenger better than the champion, on rows that neither has seen, beyond chance?

One metric declared beforehand decides superiority, with an interval that knows that rows of one card belong together, and rows
of one day.
Guardrails must be shown to hold, and evidence of harm in a slice vetoes. Nothing turns the gate off, a comparison that would
be worthless is an error, and a verdict whose outcome contradicts its own figures cannot be made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.evaluation import guardrails, verdict
from ml.evaluation.bootstrap import Difference, compare_rankings, paired_bootstrap
from ml.evaluation.clusters import Clusters
from ml.evaluation.fairness import GroupRates, group_rates, judge_fairness
from ml.evaluation.guardrails import CARD_PRECISION, LATENCY, SIZE, Check, not_inferior
from ml.evaluation.holdout import MINIMUM_CLUSTERS, CheckedRows, Contender, GateError, Holdout, Rows, check_models, check_rows
from ml.evaluation.metrics import decision_costs
from ml.evaluation.slices import Slice, judge_slices
from ml.evaluation.statistics import (
    AVERAGE_PRECISION,
    CALIBRATION,
    EXPECTED_COST,
    CalibrationError,
    CostPerDay,
    Ranking,
    Statistic,
)
from ml.evaluation.verdict import Outcome, Rules, Verdict

GOLDEN_SET, ANCESTOR = "golden set", "ancestor"

MINIMUM_REPLICATES = 200
"""With 200 replicates the standard error is known to 5 %; with fewer, the seed decides."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Meeting:
    """A second meeting of the challenger: with the champion on the golden set, or with an earlier champion on the holdout.

    Attributes:
        name: `golden set` or `ancestor`.
        told: which version of it, for people.
        labels, champion, challenger, clusters, event_times: arrays of shape (n_rows,), as those of `Rows`; `champion` holds the
            scores of whom it meets.
        impossible: why it could not be held; the arrays are empty then.
    """

    name: str
    told: str
    labels: ArrayLike = ()
    champion: ArrayLike = ()
    challenger: ArrayLike = ()
    clusters: ArrayLike = ()
    event_times: ArrayLike = ()
    impossible: str = ""


@dataclass(frozen=True, eq=False)
class Footprint:
    """What the challenger takes in serving: times of single rows in milliseconds, shape (n_calls,), and megabytes."""

    milliseconds: ArrayLike
    megabytes: float


def judge(
    *,
    champion: Contender,
    challenger: Contender,
    holdout: Holdout,
    rows: Rows,
    rules: Rules,
    replicates: int,
    seed: int,
    trigger: str,
    slices: Sequence[Slice],
    attributes: Mapping[str, NDArray],
    meetings: Sequence[Meeting],
    footprint: Footprint | None,
    notes: Sequence[str],
    spend: Callable[[], None],
) -> Verdict:
    """Compare challenger and champion on one holdout.

    Args:
        champion, challenger: who is compared, and what each has seen.
        holdout: the window the rows come from.
        rows: the rows, scored by both.
        rules: what was declared beforehand.
        replicates: bootstrap replicates, at least 200.
        seed: of the bootstrap; the same rows and seed give the same verdict.
        trigger: what started the run.
        slices: parts of the rows in which harm vetoes.
        attributes: groups of each row by protected attribute, arrays of text of shape (n_rows,).
        meetings: further comparisons; each needs its margin in the rules.
        footprint: what serving the challenger takes, where the rules limit it.
        notes: what a reader should know of how the rows came about.
        spend: called when all has been checked and nothing has been compared yet; raises if the holdout is used up.

    Raises:
        GateError: the comparison would be worthless; the message says why and what to do.
    """
    check_models(champion, challenger, holdout)
    if replicates < MINIMUM_REPLICATES:
        raise GateError(f"replicates is {replicates}, expected at least {MINIMUM_REPLICATES}")
    checked = check_rows(champion, challenger, holdout, rows)
    for part in slices:
        if part.mask.shape != checked.labels.shape:
            raise GateError(f"slice {part.slice} {part.group} has a mask of shape {part.mask.shape}, expected one value a row")
    _check_asked(rules, rows, meetings, footprint)
    spend()
    compared = _compare(champion, challenger, holdout, checked, rules, replicates, seed)
    primary = compared[rules.metric]
    checks = _guardrails(compared, checked, rules, footprint, champion.ranks)
    checks += [_meet(meeting, rules, replicates, seed) for meeting in meetings]
    if rules.fairness_gap is not None:
        alerts = checked.challenger >= challenger.threshold
        checks.append(
            judge_fairness(
                attributes,
                checked.labels,
                alerts,
                checked.clusters.entity,
                gap=rules.fairness_gap,
                fewest=rules.slice_clusters,
                alpha=rules.alpha,
            )
        )
    parts = judge_slices(checked, slices, margin=rules.slice_harm, fewest=rules.slice_clusters, alpha=rules.alpha)
    outcome = verdict.decide(primary, rules.worthwhile_gain, checks, parts)
    days = verdict.more_days(outcome, primary, rules.worthwhile_gain, checks, holdout.days)
    counts = (
        f"{len(checked.labels):,} rows, {int(checked.labels.sum()):,} positives, {checked.clusters.entities:,} clusters, "
        f"{checked.clusters.days_with_a_positive} days"
    )
    return Verdict(
        outcome=outcome,
        reason=verdict.reason(outcome, primary, rules, checks, parts, counts, days) + verdict.vacancy(outcome, champion),
        trigger=trigger,
        minimum_detectable_effect=primary.minimum_detectable_effect,
        more_days=days,
        rules=rules,
        primary=primary,
        others=tuple(d for name, d in compared.items() if name != rules.metric),
        guardrails=tuple(checks),
        slices=tuple(parts),
        fairness=tuple(_rates(champion, challenger, checked, attributes)),
        champion=champion,
        challenger=challenger,
        holdout=holdout,
        rows=len(checked.labels),
        positives=int(checked.labels.sum()),
        clusters=checked.clusters.entities,
        replicates=replicates,
        notes=(*notes, *_disagreements(compared.values()), *_one_day(checked.clusters)),
    )


def _check_asked(rules: Rules, rows: Rows, meetings: Sequence[Meeting], footprint: Footprint | None) -> None:
    """Refuse rules that ask for what is not there."""
    if EXPECTED_COST.name in (rules.metric, *rules.margins) and rows.missed is None:
        raise GateError("expected cost is asked for, but what a missed positive costs is not given: name the amount in `costs`")
    if rules.limits and footprint is None:
        raise GateError(f"limits on {sorted(rules.limits)} were declared, but what serving takes was not measured")
    for meeting in meetings:
        if meeting.name not in rules.margins:
            raise GateError(f"a comparison with the {meeting.name} needs a margin, the rules have {sorted(rules.margins)}")


def _compare(
    champion: Contender, challenger: Contender, holdout: Holdout, rows: CheckedRows, rules: Rules, replicates: int, seed: int
) -> dict[str, Difference]:
    """Every measure of both models, from the same replicates."""

    def costs_of(alerts: NDArray[np.bool_], missed: NDArray[np.float64]) -> NDArray[np.float64]:
        return decision_costs(rows.labels, alerts, missed, rules.alert_cost, rules.false_alert_cost)

    def costs(contender: Contender, scores: NDArray[np.float64], missed: NDArray[np.float64]) -> NDArray[np.float64]:
        if contender.ranks:
            return costs_of(scores >= contender.threshold, missed)
        # As many alerts as the challenger gives, on rows at random: who alerts nothing would say what alerts cost, not how good
        # they are.
        share = float((rows.challenger >= challenger.threshold).mean())
        everyone = np.ones(len(scores), dtype=bool)
        return share * costs_of(everyone, missed) + (1 - share) * costs_of(~everyone, missed)

    def statistics(contender: Contender, scores: NDArray[np.float64]) -> list[Statistic]:
        told: list[Statistic] = [Ranking(rows.labels, scores, rows.clusters)]
        told.append(CalibrationError(rows.labels, scores, rows.clusters))
        if rows.missed is not None:
            told.append(CostPerDay(costs(contender, scores, rows.missed), holdout.days, rows.clusters))
        return told

    old, new = statistics(champion, rows.champion), statistics(challenger, rows.challenger)
    try:
        return paired_bootstrap(old, new, rows.clusters, replicates=replicates, seed=seed, alpha=rules.alpha)
    except ValueError as error:
        raise GateError(str(error)) from error


def _guardrails(
    compared: Mapping[str, Difference], rows: CheckedRows, rules: Rules, footprint: Footprint | None, champion_ranks: bool
) -> list[Check]:
    """Against the base rate all guardrails hold as against a champion but one: nothing is calibrated better than a constant."""
    guarded = {
        name: d for name, d in compared.items() if name in rules.margins and (champion_ranks or name != CALIBRATION.name)
    }
    checks = [not_inferior(difference, rules.margins[name]) for name, difference in guarded.items()]
    if CARD_PRECISION in rules.margins:
        margin = rules.margins[CARD_PRECISION]
        checks.append(guardrails.card_precision_by_day(rows, rules.cards_a_day, margin, rules.alpha))
    if footprint is not None and LATENCY in rules.limits:
        checks.append(guardrails.latency_within(footprint.milliseconds, rules.limits[LATENCY], rules.alpha))
    if footprint is not None and SIZE in rules.limits:
        checks.append(guardrails.size_within(footprint.megabytes, rules.limits[SIZE]))
    return checks


def _meet(meeting: Meeting, rules: Rules, replicates: int, seed: int) -> Check:
    unit, margin = AVERAGE_PRECISION.unit, rules.margins[meeting.name]
    who = f"{meeting.name} ({meeting.told})"
    labels, clusters = np.asarray(meeting.labels), np.asarray(meeting.clusters)
    holding = len(np.unique(clusters[labels == 1])) if not meeting.impossible else 0
    why = meeting.impossible or (f"only {holding} clusters have a positive" if holding < MINIMUM_CLUSTERS else "")
    if why:
        return guardrails.unknown(who, unit, margin, f"{who}: {why}")
    try:
        days = np.asarray(meeting.event_times, dtype="datetime64[D]")
        rows = (labels, meeting.champion, meeting.challenger, clusters, days)
        compared = compare_rankings(*rows, replicates=replicates, seed=seed, alpha=rules.alpha)
    except ValueError as error:
        raise GateError(f"{who}: {error}") from error
    check = not_inferior(compared[AVERAGE_PRECISION.name], margin)
    return Check(**{**vars(check), "name": who, "told": check.told.replace(AVERAGE_PRECISION.name, who, 1)})


def _rates(champion: Contender, challenger: Contender, rows: CheckedRows, groups: Mapping[str, NDArray]) -> list[GroupRates]:
    told = []
    for contender, scores in ((champion, rows.champion), (challenger, rows.challenger)):
        alerts = scores >= contender.threshold
        for attribute, of_rows in groups.items():
            told += group_rates(contender.name, attribute, of_rows, rows.labels, alerts, rows.clusters.entity)
    return told


def _disagreements(compared: Iterable[Difference]) -> list[str]:
    notes = []
    for difference in compared:
        # An absolute value has a kink, where a derivative tells little.
        if difference.name != CALIBRATION.name and not difference.errors_agree:
            notes.append(
                f"{difference.name}: the bootstrap's standard error is {difference.standard_error:.4g}, the influence "
                f"function's {difference.standard_error_influence:.4g}; a few clusters may carry the figure"
            )
            log.warning(notes[-1])
    return notes


def _one_day(clusters: Clusters) -> list[str]:
    if clusters.days_with_a_positive > 1:
        return []
    return [
        "all positives are of one day: nothing is known of how the gain differs from day to day, and the interval leaves it out"
    ]


__all__ = ["Contender", "Footprint", "GateError", "Holdout", "Meeting", "Outcome", "Rows", "Rules", "Slice", "Verdict", "judge"]
