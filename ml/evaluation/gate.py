"""The promotion gate: is the challenger better than the champion, beyond chance, on rows that neither was trained on?

One metric, declared beforehand, decides superiority, with an interval that is robust to clusters of rows (card, day). The
guardrails must be shown to hold, and evidence of harm in a slice is a veto. No option turns the gate off, an invalid comparison
is an error, and a verdict whose outcome contradicts its own figures cannot be constructed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.evaluation import guardrails, verdict
from ml.evaluation.bootstrap import Difference, compare_rankings, paired_bootstrap
from ml.evaluation.clusters import Clusters
from ml.evaluation.fairness import GroupRates, group_rates, judge_fairness
from ml.evaluation.guardrails import CARD_PRECISION, LATENCY, SIZE, GuardrailCheck, not_inferior
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
"""With 200 replicates the standard error is accurate to 5 %; with fewer the result depends on the seed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Meeting:
    """A second comparison of the challenger: with the champion on the golden set, or with an earlier champion on the holdout.

    Attributes:
        name: `golden set` or `ancestor`.
        version: of the golden set or of the earlier champion, for people.
        labels, champion, challenger, clusters, event_times: arrays of shape (n_rows,), as those of `Rows`; `champion` holds the
            scores of the opponent.
        impossible: why the comparison could not be made; the arrays are empty then.
    """

    name: str
    version: str
    labels: ArrayLike = ()
    champion: ArrayLike = ()
    challenger: ArrayLike = ()
    clusters: ArrayLike = ()
    event_times: ArrayLike = ()
    impossible: str = ""


@dataclass(frozen=True, eq=False)
class Footprint:
    """Cost of serving the challenger: time per single row in milliseconds, shape (n_calls,), and size in megabytes."""

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
    spend: Callable[[], GuardrailCheck | None],
) -> Verdict:
    """Compare challenger and champion on one holdout.

    Args:
        champion, challenger: the two models, and the time range of their training data.
        holdout: the window the rows come from.
        rows: the rows, scored by both models.
        rules: metric, alpha, margins and limits, declared beforehand.
        replicates: bootstrap replicates, at least 200.
        seed: of the bootstrap; the same rows and seed give the same verdict.
        trigger: what started the run.
        slices: parts of the rows in which evidence of harm is a veto.
        attributes: groups of each row by protected attribute, arrays of text of shape (n_rows,).
        meetings: further comparisons; each needs its margin in the rules.
        footprint: latency and size of the challenger; required where the rules limit them.
        notes: remarks on the origin of the rows, for the reader of the verdict.
        spend: called after all inputs were checked and before anything is compared; raises if the holdout is used up, or
            returns a check with an unknown result, so that nothing can be promoted on these rows.

    Raises:
        GateError: the comparison is invalid; the message says why and what to do.
    """
    check_models(champion, challenger, holdout)
    if replicates < MINIMUM_REPLICATES:
        raise GateError(f"replicates is {replicates}, expected at least {MINIMUM_REPLICATES}")
    checked = check_rows(champion, challenger, holdout, rows)
    for part in slices:
        if part.mask.shape != checked.labels.shape:
            raise GateError(f"slice {part.slice} {part.group} has a mask of shape {part.mask.shape}, expected one value a row")
    _check_inputs(rules, rows, meetings, footprint)
    used_up = spend()
    compared = _compare(champion, challenger, holdout, checked, rules, replicates, seed)
    primary = compared[rules.metric]
    checks = _guardrails(compared, checked, rules, footprint, champion.ranks)
    checks += [_meet(meeting, rules, replicates, seed) for meeting in meetings]
    checks += [used_up] if used_up else []
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


def _check_inputs(rules: Rules, rows: Rows, meetings: Sequence[Meeting], footprint: Footprint | None) -> None:
    """Refuse rules that need an input which was not given."""
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
    """All measures of both models, from the same replicates."""

    def costs_of(alerts: NDArray[np.bool_], missed: NDArray[np.float64]) -> NDArray[np.float64]:
        return decision_costs(rows.labels, alerts, missed, rules.alert_cost, rules.false_alert_cost)

    def costs(contender: Contender, scores: NDArray[np.float64], missed: NDArray[np.float64]) -> NDArray[np.float64]:
        if contender.ranks:
            return costs_of(scores >= contender.threshold, missed)
        # The base rate has no useful threshold. It gets as many alerts as the challenger, on random rows, so that the cost
        # compares the ranking and not the number of alerts.
        share = float((rows.challenger >= challenger.threshold).mean())
        everyone = np.ones(len(scores), dtype=bool)
        return share * costs_of(everyone, missed) + (1 - share) * costs_of(~everyone, missed)

    def statistics(contender: Contender, scores: NDArray[np.float64]) -> list[Statistic]:
        of_model: list[Statistic] = [Ranking(rows.labels, scores, rows.clusters)]
        of_model.append(CalibrationError(rows.labels, scores, rows.clusters))
        if rows.missed is not None:
            of_model.append(CostPerDay(costs(contender, scores, rows.missed), holdout.days, rows.clusters))
        return of_model

    old, new = statistics(champion, rows.champion), statistics(challenger, rows.challenger)
    try:
        return paired_bootstrap(old, new, rows.clusters, replicates=replicates, seed=seed, alpha=rules.alpha)
    except ValueError as error:
        raise GateError(str(error)) from error


def _guardrails(
    compared: Mapping[str, Difference], rows: CheckedRows, rules: Rules, footprint: Footprint | None, champion_ranks: bool
) -> list[GuardrailCheck]:
    """All guardrails of the rules; without calibration against the base rate, for no model is calibrated better than that."""
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


def _meet(meeting: Meeting, rules: Rules, replicates: int, seed: int) -> GuardrailCheck:
    unit, margin = AVERAGE_PRECISION.unit, rules.margins[meeting.name]
    opponent = f"{meeting.name} ({meeting.version})"
    labels, clusters = np.asarray(meeting.labels), np.asarray(meeting.clusters)
    holding = len(np.unique(clusters[labels == 1])) if not meeting.impossible else 0
    why = meeting.impossible or (f"only {holding} clusters have a positive" if holding < MINIMUM_CLUSTERS else "")
    if why:
        return guardrails.unknown(opponent, unit, margin, f"{opponent}: {why}")
    try:
        days = np.asarray(meeting.event_times, dtype="datetime64[D]")
        rows = (labels, meeting.champion, meeting.challenger, clusters, days)
        compared = compare_rankings(*rows, replicates=replicates, seed=seed, alpha=rules.alpha)
    except ValueError as error:
        raise GateError(f"{opponent}: {error}") from error
    check = not_inferior(compared[AVERAGE_PRECISION.name], margin)
    return replace(check, name=opponent, sentence=check.sentence.replace(AVERAGE_PRECISION.name, opponent, 1))


def _rates(champion: Contender, challenger: Contender, rows: CheckedRows, groups: Mapping[str, NDArray]) -> list[GroupRates]:
    rates = []
    for contender, scores in ((champion, rows.champion), (challenger, rows.challenger)):
        alerts = scores >= contender.threshold
        for attribute, of_rows in groups.items():
            rates += group_rates(contender.name, attribute, of_rows, rows.labels, alerts, rows.clusters.entity)
    return rates


def _disagreements(compared: Iterable[Difference]) -> list[str]:
    notes = []
    for difference in compared:
        # The calibration error is a sum of absolute values: not differentiable at 0, so its influence function is inexact.
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
