"""The text of a proposed deployment file and its suites, with TODO where a person has to say why."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path

from ml.quality.propose import Answers, Stream

ENOUGH = 100
"""Positives of a week from which on a week is held out, and not two."""


def deployment(
    name: str, data: Path, labels: Path | None, stream: Stream, answers: Answers | None, suites: tuple[str, str | None]
) -> str:
    """The deployment file as YAML.

    Args:
        suites: paths of the suites on events and on labels.
    """
    days = len(stream.days)
    labelled = answers or stream
    train, validation, holdout = windows(days, _delay(answers), int(stream.rows * (labelled.rate or 0) / max(days, 1)))
    first, last = stream.days.index.min(), max(stream.days.index) + dt.timedelta(days=1)
    usual = stream.days.median()
    whole = stream.days.iloc[1:-1] if days > 2 else stream.days
    low, high = whole.min() / usual, whole.max() / usual
    expected = stream.rows / days * holdout * (labelled.rate or 0)
    positives = f"at {labelled.rate or 0:.1%} positives it holds about {expected:,.0f} of them"
    columns = {"event_id": stream.ids[0], "event_time": stream.times[0]}
    used = [*stream.entities, *stream.categories, *stream.measures]
    columns |= {stream.names[str(theirs)]: str(theirs) for theirs in used}
    zone = answers.zone if answers and answers.zone else "UTC"
    alerts = max(1, round(usual * (labelled.rate or 0.01)))
    lines = [
        f"# Proposed from {data.name}: {stream.rows:,} rows, {first} to {stream.days.index.max()}. Everything here is a guess.",
        "# Write a reason in place of each TODO; until then the file is refused.",
        "",
        f"name: {name}",
        'description: "TODO what an event is, and what a positive label means"',
        f"home: var/{name}",
        f"archive_until: {last}T06:00:00Z   # what comes by then counts as known when a daily feed would have brought it",
        "",
        "events:",
        f'  files: "{data.name.split(".")[0]}*"   # files of {name}\'s landing folder, var/{name}/landing',
        "  columns:                              # our name: the file's name",
        *[f"    {ours}: {_quoted(theirs)}{_note(stream, theirs)}" for ours, theirs in columns.items()],
        *[f"    # {_quoted(theirs)} is left out: {why}" for theirs, why in stream.left_out.items()],
        f"  timezone: {zone}   # {_clock(stream, answers)}",
        *([f"  epoch: {stream.epoch}   # what the numbers in {stream.times[0]} count since 1970"] if stream.epoch else []),
        f"  suite: {suites[0]}",
        f"  lag: {_threshold(6, 'hours', 'how long after midnight UTC is the file of a day there?')}",
        f"  volume_low: {_threshold(round(0.8 * low, 2), 'ratio', f'the smallest day has {low:.2f} of a usual one')}",
        f"  volume_high: {_threshold(round(1.25 * high, 2), 'ratio', f'the largest day has {high:.2f} of a usual one')}",
        f"  unreadable: {_threshold(0.05, 'share', 'from what share of unreadable values on has the feed changed?')}",
        f"  oldest: {_threshold(days + 30, 'days', 'how old may a row be that comes in?')}",
        "",
        "labels:",
        *(_answer_lines(labels, answers, suites[1]) if labels and answers else _column_lines(stream)),
        "",
        f"entities: {{{', '.join(f'{stream.names[str(e)]}: {stream.names[str(e)]}' for e in stream.entities)}}}",
        f"categories: [{', '.join(stream.names[str(c)] for c in stream.categories)}]",
        "",
        "windows:   # what is known of an entity from its past; `python -m ml features` says what each means",
        *_window_lines(stream, answers),
        "",
        "training:",
        f"  train: {_threshold(train, 'days', 'how long does the past resemble the present?')}",
        f"  validation: {_threshold(validation, 'days', 'it decides when to stop adding trees')}",
        f"  holdout: {_threshold(holdout, 'days', positives)}",
        f"  max_staleness: {_threshold(3, 'days', 'for how long may the feed be silent?')}",
        f"  alerts: {_threshold(alerts, 'per day', 'how many events of a day can somebody look at?')}",
        f"  parity: {_threshold(0.00001, 'probability', 'by how much may the exported model differ?')}",
        "  model: {iterations: 400, learning_rate: 0.06, depth: 6, random_seed: 7, thread_count: 2, early_stopping_rounds: 40}",
        "",
        "gate:",
        f"  cluster: {stream.names[str(stream.entities[0])]}",
        f"  alpha: {_threshold(0.05, 'probability', 'how often may an equal challenger be promoted by chance?')}",
        f"  worthwhile_gain: {_threshold(0.02, 'average precision', 'how much better is worth a new model?')}",
        f"  fresh: {_threshold(min(3, holdout), 'days', 'how many days of the holdout must be new to a decision?')}",
        "  guardrails:",
        f"    roc_auc: {_threshold(0.02, 'area', 'what may the whole ranking give for a better top?')}",
        f"    card_precision: {_threshold(0.05, 'share', 'what may the top alerts of a day give?')}",
        f"    calibration: {_threshold(0.3, 'share of the positives', 'are scores read as probabilities?')}",
        f"    latency: {_threshold(5, 'milliseconds', 'how long may one answer take?')}",
        f"    size: {_threshold(20, 'megabytes', 'how large may the served model be?')}",
        "  slices:",
        f"    harm: {_threshold(0.05, 'average precision', 'what loss in a part of the events vetoes?')}",
        f"    clusters: {_threshold(50, 'clusters', 'fewer are too few to find harm')}",
        "    by: []",
        "",
        'schedule: {ingest: "0 6 * * *", train: "30 6 * * *", monitor: "0 7 * * *"}   # UTC',
    ]
    return "\n".join(lines) + "\n"


def events_suite(stream: Stream, labelled: bool) -> str:
    """The suite on events as YAML: what held for every row of the file."""
    first = stream.names[str(stream.entities[0])]
    rows = [
        ("expect_column_values_to_not_be_null", "column: event_id", "critical", "an event without an id"),
        ("expect_column_values_to_not_be_null", "column: event_time", "critical", "an event without its time"),
        (
            "expect_column_values_to_be_between",
            "column: event_time, min_value: {$PARAMETER: earliest}, max_value: {$PARAMETER: as_of}",
            "critical",
            "an event from the future or from long ago",
        ),
    ]
    whole = [*stream.entities, *stream.measures, *stream.categories]
    rows += [
        ("expect_column_values_to_not_be_null", f"column: {stream.names[str(n)]}", "warning", f"{n} was there in every row")
        for n in whole
        if str(n) not in stream.missing
    ]
    if not labelled:
        rows.append(
            ("expect_column_values_to_be_in_set", "column: label, value_set: [0, 1]", "critical", "the label is binary")
        )
    volume = (
        "expect_table_row_count_to_be_between",
        "min_value: {$PARAMETER: rows_low}, max_value: {$PARAMETER: rows_high}",
        "critical",
        "a day with far fewer or far more events than its neighbours",
    )
    return _suite(f"Events by our column names, such as {first}. Row by row: what does a wrong one mean?", [volume], rows)


def labels_suite() -> str:
    """The suite on labels as YAML."""
    rows = [
        ("expect_column_values_to_not_be_null", f"column: {name}", "critical", f"an answer without {meaning}")
        for name, meaning in (("event_id", "its event"), ("label", "what it says"), ("reported_at", "its time"))
    ]
    rows.append(("expect_column_values_to_be_in_set", "column: label, value_set: [0, 1]", "critical", "the label is binary"))
    return _suite("Answers by our column names.", [], rows)


def windows(days: int, delay: float, positives_a_day: int) -> tuple[int, int, int]:
    """Days to train on, to validate on and to hold out, of so many days of events with answers after so many days."""
    usable = max(3, int(days - 2 * math.ceil(delay) - 1))
    holdout = min(14 if positives_a_day * 7 < ENOUGH else 7, max(1, usable // 4))
    validation = min(7, max(1, usable // 4))
    return max(1, min(56, usable - holdout - validation)), validation, holdout


def _clock(stream: Stream, answers: Answers | None) -> str:
    if stream.zoned:
        return "the times say their own"
    if answers and answers.zone:
        return "by this clock the answers, which say theirs, come soonest after their events"
    return f"the times carry no zone, and events are fewest at {stream.quiet}:00. Whose clock is it? Such as America/New_York"


def _threshold(value: float, unit: str, hint: str) -> str:
    return f"{{value: {value:g}, unit: {unit}, reason: {json.dumps(f'TODO {hint}')}}}"


def _quoted(name: str) -> str:
    """A name as YAML reads it as text."""
    plain = (
        name.replace("_", "").isalnum()
        and name[0].isalpha()
        and name.lower() not in ("yes", "no", "on", "off", "y", "n", "true", "false", "null")
    )
    return name if plain else json.dumps(name)


def _note(stream: Stream, theirs: str) -> str:
    notes = [f"{stream.missing[theirs]:.1%} are missing"] if theirs in stream.missing else []
    for taken, others in (("event_id", stream.ids), ("event_time", stream.times)):
        if theirs == others[0] and len(others) > 1:
            notes.append(f"or, as {taken}: {', '.join(map(str, others[1:]))}")
    return f"   # {'; '.join(notes)}" if notes else ""


def _delay(answers: Answers | None) -> int:
    """Days after which nearly all answers are in: whole ones, for an answer comes with the file of its day."""
    return max(1, math.ceil((answers.hours.get(0.99, 168) if answers else 168) / 24))


def _answer_lines(labels: Path, answers: Answers, suite: str | None) -> list[str]:
    curve = ", ".join(f"{q:.0%} after {hours:.1f} h" for q, hours in answers.hours.items())
    hint = (
        f"of the answers {curve}; {answers.answered:.1%} of the events have one" if curve else "when are nearly all answers in?"
    )
    return [
        f'  files: "{labels.name.split(".")[0]}*"',
        f"  columns: {{{', '.join(f'{ours}: {_quoted(theirs)}' for ours, theirs in answers.columns.items())}}}"
        + ("" if "label" in answers.columns else "   # without a label: every row means a positive"),
        *([f"  epoch: {answers.epoch}"] if answers.epoch else []),
        f"  suite: {suite}",
        f"  delay: {_threshold(_delay(answers), 'days', hint)}",
    ]


def _column_lines(stream: Stream) -> list[str]:
    others = f"   # or: {', '.join(map(str, stream.labels[1:]))}" if len(stream.labels) > 1 else ""
    return [
        f"  column: {_quoted(str(stream.labels[0]))}{others}",
        f"  delay: {_threshold(7, 'days', 'how long after its event is a label known?')}",
    ]


def _window_lines(stream: Stream, answers: Answers | None) -> list[str]:
    days = _delay(answers)
    reach = "[1, 7, 28]" if len(stream.days) > 60 else "[1, 7]"
    found = []
    for entity in (stream.names[str(e)] for e in stream.entities):
        found.append(f"  - {{entity: {entity}, column: label, aggregates: [count, mean], days: {reach}, delay: {days}}}")
        if stream.measures:
            measure = stream.names[str(stream.measures[0])]
            found.append(f"  - {{entity: {entity}, column: {measure}, aggregates: [mean], days: {reach}}}")
    return found


def _suite(title: str, file: list[tuple[str, str, str, str]], rows: list[tuple[str, str, str, str]]) -> str:
    lines = [f"# {title}", "# Write a reason in place of each TODO: what does it mean, and what is to be done?"]
    for part, entries in (("file", file), ("rows", rows)):
        lines.append(f"{part}:" if entries else f"{part}: []")
        for kind, arguments, severity, hint in entries:
            lines += [
                f"  - type: {kind}",
                f"    kwargs: {{{arguments}}}",
                f"    severity: {severity}",
                f"    reason: {json.dumps(f'TODO {hint}')}",
            ]
    return "\n".join(lines) + "\n"
