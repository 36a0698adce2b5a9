"""The model card of a version as a document, section by section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ml.config import Risk, Threshold
from ml.explanation import attributions, gate_sections, svg
from ml.explanation.document import (
    Block,
    Column,
    Document,
    Facts,
    Missing,
    Picture,
    Points,
    Section,
    Table,
    Text,
    brief,
    count,
    instant,
    number,
    share,
    signed,
    worded,
)
from ml.training.fit import TUNING

if TYPE_CHECKING:
    from ml.explanation.card import Evidence

LEVELS = ("low", "medium", "high")
FEATURES, MOVERS = 20, 8


def document(evidence: Evidence, pictures: Mapping[str, Path]) -> Document:
    """The card of a version."""
    decision = evidence.decision
    return Document(
        kind=f"{evidence.model}, model card",
        title=f"{evidence.model} version {evidence.version}",
        badge=decision.outcome if decision else "not judged",
        lead=decision.reason if decision else "The ledger holds no answer of the gate on this version.",
        figures=_figures(evidence),
        sections=(
            Section("Purpose", tuple(_purpose(evidence))),
            Section("Approval", tuple(_approval(evidence))),
            Section("Verdict", tuple(gate_sections.answer(evidence.verdict))),
            Section("Guardrails", tuple(gate_sections.guardrails(evidence.verdict))),
            Section("Slices", tuple(gate_sections.slices(evidence.verdict))),
            Section("Fairness", tuple(gate_sections.fairness(evidence.verdict))),
            Section("Attributions", tuple(_attributions(evidence, pictures))),
            Section("Data", tuple(_data(evidence))),
            Section("Settings", tuple(_settings(evidence))),
            Section("Limits", tuple(_limits(evidence))),
            Section("Risks", tuple(_risks(evidence))),
            Section("Environment", tuple(_environment(evidence))),
        ),
    )


def missing(card: Document) -> tuple[str, ...]:
    """Titles of the sections in which something is missing."""
    return tuple(s.title for s in card.sections if any(isinstance(block, Missing) for block in s.blocks))


def _figures(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    primary = evidence.verdict.get("primary")
    figures = [("as of, UTC", instant(evidence.training_set.as_of))]
    if primary:
        figures += [(worded(primary.get("name")), number(primary.get("challenger"))), ("gain", signed(primary.get("gain")))]
    figures.append(("training rows", count(evidence.training_set.train_rows)))
    figures.append(("champion now", _named(evidence)))
    return tuple(figures)


def _named(evidence: Evidence) -> str:
    if evidence.champion is None:
        return "none"
    return "this version" if evidence.champion == evidence.version else f"version {evidence.champion}"


def _purpose(evidence: Evidence) -> Iterator[Block]:
    card = evidence.deployment.card
    yield Text(evidence.deployment.description)
    if card.purpose:
        yield Text(card.purpose)
    else:
        yield Missing("The deployment file does not say what the model is for (card.purpose).")
    yield Facts(
        tuple((name, value or f"missing: the deployment file has no card.{name}") for name, value in _people(evidence).items())
    )
    if None in _people(evidence).values():
        yield Missing("Nobody is named whom a reader could ask.")


def _people(evidence: Evidence) -> dict[str, str | None]:
    return {"owner": evidence.deployment.card.owner, "contact": evidence.deployment.card.contact}


def _approval(evidence: Evidence) -> Iterator[Block]:
    promoted = [move for move in evidence.moves if move.to_version == evidence.version]
    if promoted:
        last = promoted[-1]
        now = "it is champion" if evidence.champion == evidence.version else f"version {evidence.champion} is champion"
        yield Text(f"Made champion by {last.actor} as of {instant(last.as_of)}; as of {instant(evidence.as_of)} {now}.")
    else:
        yield Text(f"Not promoted: as of {instant(evidence.as_of)} the ledger holds no move to this version.")
    if evidence.moves:
        heads = ("move", "what", "from", "to", "as of", "recorded at", "who", "run", "why")
        rows = [
            (
                str(move.sequence),
                move.action,
                move.from_version or "–",
                move.to_version,
                instant(move.as_of),
                instant(move.recorded_at),
                move.actor,
                move.run_id,
                move.reason,
            )
            for move in evidence.moves
        ]
        yield Table(tuple(map(Column, heads)), tuple(rows))
    decision = evidence.decision
    if decision:
        yield Facts(
            (
                ("answer of the gate", decision.outcome),
                ("judged against", _against(evidence)),
                ("as of", instant(decision.as_of)),
                ("started by", decision.trigger),
                ("run", decision.run_id),
            )
        )


def _against(evidence: Evidence) -> str:
    decision = evidence.decision
    champion = (evidence.verdict.get("champion") or {}).get("name")
    if decision and decision.champion_version is not None:
        return f"champion, version {decision.champion_version}"
    return str(champion) if champion else "no champion"


def _attributions(evidence: Evidence, pictures: Mapping[str, Path]) -> Iterator[Block]:
    explained = evidence.attributions
    if explained is None:
        yield Missing(
            f"No attributions are in the record; `python -m ml explain --model {evidence.fitted.model}` makes them, then write "
            "the card again."
        )
        return
    yield Text(
        f"SHAP values in log-odds on {count(explained.sample_rows)} rows of the holdout "
        f"({count(explained.sample_positives)} of them positive), weighted to stand for its {count(explained.rows)} rows. "
        f"With the base value of {number(explained.base, 3)} they add up to each score exactly."
    )
    yield Picture(pictures[attributions.SUMMARY], "A dot is a row; to the right of 0 its input raises the score.")
    yield Picture(pictures[attributions.SLICES], "Which inputs carry the scores of a slice, in percent of its attribution.")
    highest = max((feature.share for feature in explained.features), default=1.0)
    rows = [
        (f.feature, svg.bar(f.share, highest, f"share of {f.feature}"), share(f.share), number(f.mean_absolute), signed(f.mean))
        for f in explained.features[:FEATURES]
    ]
    heads = (Column("input"), Column(""), Column("share", True), Column("mean |SHAP|", True), Column("mean", True))
    yield Table(heads, tuple(rows))
    if len(explained.features) > FEATURES:
        rest = explained.features[FEATURES:]
        yield Text(f"{len(rest)} other inputs hold {share(sum(f.share for f in rest))} together.", is_note=True)
    if explained.drift is None:
        yield Text("There was no champion whose attributions could be compared.")
        return
    yield Text(f"{explained.drift.sentence}.")
    movers = [
        (
            mover.feature,
            share(mover.champion) if mover.champion is not None else "absent",
            share(mover.challenger) if mover.challenger is not None else "absent",
            f"{100 * mover.difference:+.2f} points",
        )
        for mover in explained.drift.movers[:MOVERS]
    ]
    names = ("champion", "this version", "difference")
    yield Table((Column("largest movers"), *(Column(name, True) for name in names)), tuple(movers))


def _data(evidence: Evidence) -> Iterator[Block]:
    frozen, windows = evidence.training_set, evidence.training_set.windows
    delay = evidence.deployment.labels.delay
    rows = []
    for part, start, end in (
        ("train", "train_start", "validation_start"),
        ("validation", "validation_start", "fitted_until"),
        ("holdout", "holdout_start", "holdout_end"),
    ):
        size, positives = int(getattr(frozen, f"{part}_rows")), frozen.positives.get(part, 0)
        span = (instant(windows.get(start)), instant(windows.get(end)))
        rows.append((part, *span, count(size), count(positives), share(positives / max(size, 1), 3)))
    heads = (Column("window"), Column("from"), Column("until"), *(Column(n, True) for n in ("rows", "positives", "label rate")))
    yield Table(heads, tuple(rows))
    yield Facts(
        (
            ("labels known until", instant(frozen.labels_known_until)),
            *_refit(evidence),
            ("label delay", f"{brief(delay.value)} {delay.unit}: {delay.reason}"),
            *((f"lake table {table}", f"version {version}") for table, version in frozen.lake.items()),
            *((f"features {view}", _published(published)) for view, published in frozen.features.items()),
            ("training set, SHA-256", frozen.training_set),
            ("configuration, SHA-256", frozen.config),
            *([("page on the training set", evidence.exploration.name)] if evidence.exploration else []),
        )
    )
    if evidence.exploration is None:
        yield Missing(
            f"There is no page on the training set; `python -m ml explore --training-set {frozen.training_set}` writes it."
        )


def _refit(evidence: Evidence) -> list[tuple[str, str]]:
    fitted = evidence.fitted
    if not fitted.refit_of:
        return []
    rows = f"{count(evidence.training_set.refit_rows)} rows until {instant(fitted.trained_until)}"
    return [
        (
            "fitted again on",
            f"{rows}, with the labels known at {instant(fitted.labels_known_until)}; the model that was "
            f"judged is {fitted.refit_of[:12]}",
        )
    ]


def _published(published: Sequence[Mapping[str, str]]) -> str:
    if not published:
        return "nothing was published"
    return f"{len(published)} files, the last {published[-1].get('file', 'unnamed')}"


def _settings(evidence: Evidence) -> Iterator[Block]:
    fitted = evidence.fitted
    yield Facts(tuple((name, _scalar(value)) for name, value in evidence.deployment.training.model.model_dump().items()))
    yield Text(f"These settings came from the {fitted.settings_from}.")
    if not fitted.trees:
        yield Text("They are those of trees; of a logistic regression positive_weight and half_life alone.")
    if evidence.tuning is None:
        yield Missing(f"There is no {TUNING} with the model: no search says why these settings and no others.")
    else:
        yield Text(str(evidence.tuning.get("note") or "How they were found:"))
        yield Facts(tuple(_flat({name: value for name, value in evidence.tuning.items() if name != "note"})))
    if fitted.candidates:
        best = fitted.candidates[fitted.candidate]
        yield Text(f"Candidates by {fitted.selected_by} on the validation window; {fitted.candidate} was selected:")
        candidates = [(name, number(figure), f"{figure - best:+.4g}") for name, figure in fitted.candidates.items()]
        yield Table((Column("candidate"), Column(fitted.selected_by, True), Column("apart", True)), tuple(candidates))
    yield Text("What came out on the validation window:")
    yield Facts(
        (
            ("size", fitted.size),
            ("average precision", number(fitted.validation_average_precision)),
            ("ROC AUC", number(fitted.validation_roc_auc)),
            ("decision threshold", number(fitted.threshold, 6)),
            ("calibration, slope and intercept", f"{number(fitted.calibration_slope)}, {number(fitted.calibration_intercept)}"),
            ("calibration error before", number(fitted.calibration_error_before)),
            ("calibration error after", number(fitted.calibration_error)),
        )
    )
    yield Text("Thresholds of the deployment, each with its reason:")
    rows = [(name, brief(each.value), each.unit, each.reason) for name, each in _thresholds(evidence.deployment, "")]
    yield Table((Column("threshold"), Column("value", True), Column("unit"), Column("reason")), tuple(rows))


def _thresholds(section: BaseModel, prefix: str) -> Iterator[tuple[str, Threshold]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        for place, each in enumerate(value) if isinstance(value, list) else [(None, value)]:
            where = f"{prefix}{name}" if place is None else f"{prefix}{name}.{place}"
            if isinstance(each, Threshold):
                yield where, each
            elif isinstance(each, BaseModel):
                yield from _thresholds(each, f"{where}.")


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Values by dotted name; a list of records is shown as its length."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(each, list | dict) for each in value):
            yield f"{prefix}{name}", f"{len(value)} entries"
        else:
            yield f"{prefix}{name}", ", ".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)


def _scalar(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)


def _limits(evidence: Evidence) -> Iterator[Block]:
    limits = evidence.deployment.card.limits
    yield Points(tuple(limits)) if limits else Missing("The deployment file names no limits (card.limits).")


def _risks(evidence: Evidence) -> Iterator[Block]:
    risks = evidence.deployment.card.risks
    if not risks:
        yield Missing("The deployment file names no risks (card.risks).")
        return
    numbered = list(enumerate(risks, start=1))
    matrix = [(probability, *(_cell(numbered, probability, impact) for impact in LEVELS)) for probability in reversed(LEVELS)]
    yield Table((Column("probability"), *(Column(f"{impact} impact") for impact in LEVELS)), tuple(matrix))
    rows = [(f"R{i}", risk.risk, risk.probability, risk.impact, risk.mitigation) for i, risk in numbered]
    heads = ("", "risk", "probability", "impact", "what mitigates it")
    yield Table(tuple(map(Column, heads)), tuple(rows))


def _cell(numbered: Sequence[tuple[int, Risk]], probability: str, impact: str) -> str:
    return ", ".join(f"R{i}" for i, risk in numbered if (risk.probability, risk.impact) == (probability, impact)) or "–"


def _environment(evidence: Evidence) -> Iterator[Block]:
    code, tags = evidence.fitted.code, evidence.tags
    facts = {
        "environment": tags.get("environment"),
        "code commit": code.get("commit"),
        "sources, SHA-256": code.get("sources"),
        "lock of the dependencies, SHA-256": code.get("lock"),
        "model folder": evidence.fitted.model,
        "MLflow run": evidence.fitted.mlflow_run,
        "model, SHA-256": evidence.verdict.get("challenger_hash"),
    }
    yield Facts(tuple((name, value) for name, value in facts.items() if value))
    unknown = [name for name, value in facts.items() if not value]
    if unknown:
        yield Missing(f"The record does not say: {', '.join(unknown)}.")
