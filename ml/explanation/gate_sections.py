"""The sections of a card on the gate's verdict: the answer, guardrails, slices and fairness."""

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
    number,
    share,
    signed,
)

RED = "#a4262c"
STATUS_COLOURS = {"passed": GREEN, "vetoed": RED}


def answer(verdict: Mapping[str, Any]) -> Iterator[Block]:
    """What was measured of both models, and by which rules it was decided."""
    if not verdict:
        yield Missing("The ledger holds no verdict on this version: it was registered and not judged, or not yet.")
        return
    differences = [d for d in (verdict.get("primary"), *verdict.get("others", [])) if d]
    if differences:
        names = ("champion", "interval", "challenger", "interval", "gain", "interval")
        rows = [
            (
                str(d["name"]),
                number(d["champion"]),
                between(d.get("champion_interval")),
                number(d["challenger"]),
                between(d.get("challenger_interval")),
                signed(d["gain"]),
                between(d.get("interval")),
            )
            for d in differences
        ]
        yield Table((Column("metric"), *(Column(name, True) for name in names)), tuple(rows))
        yield Text(
            "The first metric was declared beforehand and decides. A gain above 0 means that the challenger, which is this "
            "version, is better.",
            is_note=True,
        )
    else:
        yield Missing("The verdict holds no metrics with intervals.")
    yield Facts(tuple(_rule(verdict)))
    if verdict.get("notes"):
        yield Points(tuple(map(str, verdict["notes"])))


def _rule(verdict: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    primary, rules = verdict.get("primary") or {}, verdict.get("rules") or verdict
    told = {
        "lower bound of the gain": signed(primary.get("lower_bound")) if primary else None,
        "upper bound of the gain": signed(primary.get("upper_bound")) if primary else None,
        "chance of promoting an equal challenger": _value(rules, "alpha", brief),
        "gain that is worth waiting for": _value(rules, "worthwhile_gain", brief),
        "gain that these rows would have shown": _value(verdict, "minimum_detectable_effect", number),
        "more days of holdout to tell": _value(verdict, "more_days", count),
        "holdout": _holdout(verdict),
        "rows": _value(verdict, "rows", count),
        "positives": _value(verdict, "positives", count),
        "clusters": _value(verdict, "clusters", count),
        "replicates": _value(verdict, "replicates", count),
        "trigger": str(verdict["trigger"]) if verdict.get("trigger") else None,
    }
    yield from ((name, value) for name, value in told.items() if value is not None)


def _value(verdict: Mapping[str, Any], name: str, shown: Any) -> str | None:
    return None if verdict.get(name) is None else str(shown(verdict[name]))


def _holdout(verdict: Mapping[str, Any]) -> str | None:
    holdout = verdict.get("holdout")
    if not holdout:
        return None
    until = instant(holdout["labels_known_until"])
    return f"{instant(holdout['start'])} to {instant(holdout['end'])}, labels known until {until}"


def guardrails(verdict: Mapping[str, Any]) -> Iterator[Block]:
    """Each guardrail with its bounds and its margin."""
    found = verdict.get("guardrails")
    if not found:
        yield Missing("The verdict holds no guardrails.")
        return
    rows = [
        (
            str(rail["name"]),
            number(rail.get("champion")),
            number(rail.get("challenger")),
            signed(rail.get("gain")),
            f"{signed(rail.get('lower_bound'))} to {signed(rail.get('upper_bound'))}",
            number(rail.get("margin")),
            str(rail.get("unit", "")),
            str(rail["status"]),
        )
        for rail in found
    ]
    names = ("champion", "challenger", "gain", "bounds", "margin")
    yield Table((Column("guardrail"), *(Column(n, True) for n in names), Column("unit"), Column("status")), tuple(rows))
    absent = [name for name in ("golden set", "ancestor") if not any(str(rail["name"]).startswith(name) for rail in found)]
    if absent:
        yield Text(f"Not among the guardrails: {', '.join(absent)}.", is_note=True)
    yield Points(tuple(_about(str(rail["name"]), str(rail["told"])) for rail in found if rail.get("told")))


def _about(name: str, told: str) -> str:
    return told if name in told else f"{name}: {told}"


def slices(verdict: Mapping[str, Any]) -> Iterator[Block]:
    """Each slice with its interval, and why one was not judged."""
    found = verdict.get("slices")
    if not found:
        yield Missing("The verdict holds no slices.")
        return
    judged = [each for each in found if each.get("interval") and each.get("gain") is not None]
    reach = (min([e["interval"][0] for e in judged], default=0.0), max([e["interval"][1] for e in judged], default=0.0))
    rows = [
        (
            str(each["slice"]),
            str(each["group"]),
            count(each.get("rows")),
            count(each.get("positives")),
            number(each.get("champion")),
            number(each.get("challenger")),
            signed(each.get("gain")),
            between(each.get("interval")),
            _bar(each, reach) if each in judged else "",
            number(each.get("p_harm"), 3),
            str(each["status"]),
        )
        for each in found
    ]
    names = ("rows", "positives", "champion", "challenger", "gain", "interval")
    head = (Column("slice"), Column("group"), *(Column(n, True) for n in names), Column("challenger better →"))
    yield Table((*head, Column("p of harm", True), Column("status")), tuple(rows))
    told = [_about(f"{e['slice']} {e['group']}", str(e["told"])) for e in found if e.get("told") and e["status"] != "passed"]
    if told:
        yield Points(tuple(told))


def _bar(each: Mapping[str, Any], reach: tuple[float, float]) -> svg.Drawing:
    low, high = each["interval"]
    colour = STATUS_COLOURS.get(each["status"], MUTED)
    return svg.interval_bar(each["gain"], low, high, reach, colour, f"gain in {each['slice']} {each['group']}", width=120)


def fairness(verdict: Mapping[str, Any]) -> Iterator[Block]:
    """What both models' alerts mean for each group of people."""
    found = verdict.get("fairness")
    if not found:
        yield Missing("The verdict holds no figures by group of people.")
        return
    rates = ("selection_rate", "false_positive_rate", "recall")
    rows = [
        (
            str(each["attribute"]),
            str(each["group"]),
            str(each["model"]),
            count(each.get("rows")),
            count(each.get("positives")),
            *(_rate(each.get(rate)) for rate in rates),
        )
        for each in found
    ]
    heads = (Column("attribute"), Column("group"), Column("model"), Column("rows", True), Column("positives", True))
    yield Table((*heads, *(Column(rate.replace("_", " "), True) for rate in rates)), tuple(rows))


def _rate(rate: Mapping[str, float] | None) -> str:
    return (
        "–"
        if not rate or rate.get("value") is None
        else f"{share(rate.get('value'))} [{share(rate.get('low'))}, {share(rate.get('high'))}]"
    )
