"""The sections of a model card on the gate's verdict: metrics, guardrails, slices and fairness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ml.evaluation.pictures import GREEN, MUTED
from ml.explanation import svg
from ml.explanation.document import (
    Block,
    Column,
    Facts,
    Missing,
    Points,
    Table,
    Text,
    between,
    brief,
    count,
    instant,
    is_interval,
    number,
    share,
    signed,
    worded,
)
from ml.records import attributes_of

RED = "#a4262c"
STATUS_COLOURS = {"passed": GREEN, "vetoed": RED}


def answer(verdict: Mapping[str, Any]) -> Iterator[Block]:
    """The metrics of both models, and the rules of the decision."""
    if not verdict:
        yield Missing("The ledger holds no verdict on this version: it was registered and not judged, or not yet.")
        return
    differences = [d for d in (verdict.get("primary"), *(verdict.get("others") or [])) if d]
    if differences:
        heads = ("champion", "interval", "challenger", "interval", "gain", "interval")
        rows = [
            (
                worded(d.get("name")),
                number(d.get("champion")),
                between(d.get("champion_interval")),
                number(d.get("challenger")),
                between(d.get("challenger_interval")),
                signed(d.get("gain")),
                between(d.get("interval")),
            )
            for d in differences
        ]
        yield Table((Column("metric"), *(Column(head, True) for head in heads)), tuple(rows))
        yield Text(
            "The first metric was declared beforehand and decides. A gain above 0 means that the challenger, which is this "
            "version, is better.",
            is_note=True,
        )
    else:
        yield Missing("The verdict holds no metrics with intervals.")
    yield Facts(tuple(_rule(verdict)))
    if verdict.get("notes"):
        yield Points(tuple(worded(note) for note in verdict["notes"] if note))


def _rule(verdict: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    primary, rules = verdict.get("primary") or {}, verdict.get("rules") or verdict
    facts = {
        "lower bound of the gain": signed(primary.get("lower_bound")) if primary else None,
        "upper bound of the gain": signed(primary.get("upper_bound")) if primary else None,
        "chance of promoting an equal challenger": _value(rules, "alpha", brief),
        "gain that is worth waiting for": _value(rules, "worthwhile_gain", brief),
        "gain that these rows would have shown": _value(verdict, "minimum_detectable_effect", number),
        "part of the gain's variance that days add": _value(primary, "share_of_days", share),
        "more days of holdout to tell": _value(verdict, "more_days", count),
        "holdout": _holdout(verdict),
        "rows": _value(verdict, "rows", count),
        "positives": _value(verdict, "positives", count),
        "clusters": _value(verdict, "clusters", count),
        "replicates": _value(verdict, "replicates", count),
        "trigger": str(verdict["trigger"]) if verdict.get("trigger") else None,
    }
    yield from ((what, value) for what, value in facts.items() if value is not None)


def _value(verdict: Mapping[str, Any], field: str, shown: Any) -> str | None:
    return None if verdict.get(field) is None else str(shown(verdict[field]))


def _holdout(verdict: Mapping[str, Any]) -> str | None:
    holdout = verdict.get("holdout")
    if not holdout:
        return None
    until = instant(holdout.get("labels_known_until"))
    return f"{instant(holdout.get('start'))} to {instant(holdout.get('end'))}, labels known until {until}"


def guardrails(verdict: Mapping[str, Any]) -> Iterator[Block]:
    """Each guardrail with its bounds and its margin."""
    checks = [attributes_of(rail) for rail in verdict.get("guardrails") or [] if rail]
    if not checks:
        yield Missing("The verdict holds no guardrails.")
        return
    rows = [
        (
            worded(rail.get("name")),
            number(rail.get("champion")),
            number(rail.get("challenger")),
            signed(rail.get("gain")),
            f"{signed(rail.get('lower_bound'))} to {signed(rail.get('upper_bound'))}",
            number(rail.get("margin")),
            worded(rail.get("unit")),
            worded(rail.get("status")),
        )
        for rail in checks
    ]
    names = ("champion", "challenger", "gain", "bounds", "margin")
    yield Table((Column("guardrail"), *(Column(n, True) for n in names), Column("unit"), Column("status")), tuple(rows))
    absent = [each for each in ("golden set", "ancestor") if not any(worded(r.get("name")).startswith(each) for r in checks)]
    if absent:
        yield Text(f"Not among the guardrails: {', '.join(absent)}.", is_note=True)
    yield Points(tuple(_about(worded(rail.get("name")), str(rail["sentence"])) for rail in checks if rail.get("sentence")))


def _about(subject: str, sentence: str) -> str:
    return sentence if subject in sentence else f"{subject}: {sentence}"


def slices(verdict: Mapping[str, Any]) -> Iterator[Block]:
    """Each slice with its interval and status."""
    checks = [attributes_of(each) for each in verdict.get("slices") or [] if each]
    if not checks:
        yield Missing("The verdict holds no slices.")
        return
    judged = [each for each in checks if is_interval(each.get("interval")) and is_interval((each.get("gain"),) * 2)]
    reach = (min([e["interval"][0] for e in judged], default=0.0), max([e["interval"][1] for e in judged], default=0.0))
    rows = [
        (
            worded(each.get("slice")),
            worded(each.get("group")),
            count(each.get("rows")),
            count(each.get("positives")),
            number(each.get("champion")),
            number(each.get("challenger")),
            signed(each.get("gain")),
            between(each.get("interval")),
            _bar(each, reach) if each in judged else "",
            number(each.get("p_harm"), 3),
            worded(each.get("status")),
        )
        for each in checks
    ]
    names = ("rows", "positives", "champion", "challenger", "gain", "interval")
    head = (Column("slice"), Column("group"), *(Column(n, True) for n in names), Column("challenger better →"))
    yield Table((*head, Column("p of harm", True), Column("status")), tuple(rows))
    open_checks = [each for each in checks if each.get("sentence") and each.get("status") != "passed"]
    if open_checks:
        yield Points(tuple(_about(_of(each), str(each["sentence"])) for each in open_checks))


def _bar(each: Mapping[str, Any], reach: tuple[float, float]) -> svg.Drawing:
    low, high = each["interval"]
    colour = STATUS_COLOURS.get(worded(each.get("status")), MUTED)
    return svg.interval_bar(each["gain"], low, high, reach, colour, f"gain in {_of(each)}", width=120)


def _of(each: Mapping[str, Any]) -> str:
    """Which slice it is."""
    return f"{worded(each.get('slice'))} {worded(each.get('group'))}"


def fairness(verdict: Mapping[str, Any]) -> Iterator[Block]:
    """Alert rates of both models for each group of people."""
    groups = [each for each in verdict.get("fairness") or [] if each]
    if not groups:
        yield Missing("The verdict holds no figures by group of people.")
        return
    rates = ("selection_rate", "false_positive_rate", "recall")
    rows = [
        (
            worded(each.get("attribute")),
            worded(each.get("group")),
            worded(each.get("model")),
            count(each.get("rows")),
            count(each.get("positives")),
            *(_rate(each.get(rate)) for rate in rates),
        )
        for each in groups
    ]
    heads = (Column("attribute"), Column("group"), Column("model"), Column("rows", True), Column("positives", True))
    yield Table((*heads, *(Column(rate.replace("_", " "), True) for rate in rates)), tuple(rows))


def _rate(rate: Mapping[str, float] | None) -> str:
    return (
        "–"
        if not rate or rate.get("value") is None
        else f"{share(rate.get('value'))} [{share(rate.get('low'))}, {share(rate.get('high'))}]"
    )
