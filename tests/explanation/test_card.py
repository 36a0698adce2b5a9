"""A card tells what the record tells, says what the record lacks, and is the same in HTML and in Markdown."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest

from ml.config import CardSettings, Config, Risk
from ml.explanation import attributions, render, sections
from ml.explanation.attributions import AttributionDrift, Attributions, FeatureAttribution, Mover, SliceAttribution
from ml.explanation.card import Evidence
from ml.ledger.moves import Promotion
from ml.training.dataset import TrainingSet
from ml.training.fit import Fit
from tests.decisions import decision
from tests.deployments import FIRST_AS_OF
from tests.explanation import pages
from tests.explanation.verdicts import verdict
from tests.models import HOSTILE

CUTS = ("train_start", "validation_start", "fitted_until", "holdout_start", "holdout_end")
TRAINING_SET = TrainingSet(
    training_set="5" * 64,
    as_of=FIRST_AS_OF.isoformat(),
    rows=1600,
    train_rows=1000,
    validation_rows=250,
    holdout_rows=350,
    positives={"train": 12, "validation": 3, "holdout": 5},
    windows={cut: f"2025-02-0{i}T00:00:00+00:00" for i, cut in enumerate(CUTS, start=1)},
    labels_known_until="2025-02-20T00:00:00+00:00",
    lake={"events": 7, "labels": 9},
    features={"customer_amount": [{"file": "a.parquet"}]},
    config="c" * 64,
)
FITTED = Fit(
    model="m" * 64,
    training_set="5" * 64,
    trained_until="2025-02-03",
    labels_known_until="2025-02-20",
    mlflow_run="run",
    mlflow_experiment="1",
    trees=321,
    validation_average_precision=0.61234,
    validation_roc_auc=0.95678,
    threshold=0.0625351,
    importance={},
    code={"commit": "f" * 40, "sources": "s" * 64, "lock": "l" * 64},
)
FOUND = Attributions(
    explanation="e",
    model="m" * 64,
    champion_version="1",
    rows=350,
    positives=5,
    sample_rows=350,
    sample_positives=5,
    base=-6.3456,
    features=(FeatureAttribution("amount", 0.4321, 0.75, 0.1), FeatureAttribution("channel", 0.1440, 0.25, -0.05)),
    slices=(SliceAttribution("channel = chip", 100, 100.0, {"amount": 0.5, "channel": 0.5}),),
    drift=AttributionDrift(350, 0.25, None, (Mover("amount", None, 0.75, 0.75),), "a quarter moved"),
)


def evidence(config: Config, told: dict[str, Any] | None = None, **other: Any) -> Evidence:
    """A version with everything in its record."""
    told = verdict() if told is None else told
    answer = decision(model=config.name, as_of=FIRST_AS_OF, run_id="scheduled__1", outcome="PROMOTE", evidence=told)
    move = Promotion(
        model=config.name,
        sequence=2,
        action="promote",
        from_version="1",
        to_version="2",
        as_of=FIRST_AS_OF,
        actor="ann",
        reason="better",
        verdict=told,
        run_id="scheduled__1",
        hashes={},
        recorded_at=FIRST_AS_OF + dt.timedelta(minutes=5),
    )
    values = {
        "model": config.name,
        "version": "2",
        "as_of": FIRST_AS_OF,
        "deployment": config,
        "training_set": TRAINING_SET,
        "fitted": FITTED,
        "tags": {"environment": "Python 3.11"},
        "tuning": {"note": "the search won", "sampler": "TPE", "trials": [{"a": 1}, {"a": 2}], "best": {"depth": 6}},
        "decision": answer,
        "moves": (move,),
        "champion": "2",
        "attributions": FOUND,
        "exploration": Path("explorations/5.html"),
    }
    return Evidence(**values | other)


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    """Pictures beside the card."""
    found = {name: tmp_path / f"2-{name}" for name in (attributions.SUMMARY, attributions.SLICES)}
    for path in found.values():
        path.write_bytes(b"\x89PNG")
    return found


@pytest.fixture(params=["html", "markdown"])
def read(request: pytest.FixtureRequest, pictures: dict[str, Path]):
    """Write a card and read its tables back, from HTML and from Markdown."""

    def tables(of: Evidence) -> list[pages.Rows]:
        document = sections.document(of, pictures if of.attributions else {})
        if request.param == "html":
            return pages.of_html(render.html(document))
        return pages.of_markdown(render.markdown(document))

    return tables


def test_metrics_on_the_card_are_those_of_the_verdict(config: Config, read) -> None:
    told = verdict()
    rows = pages.under(read(evidence(config)), "metric")
    assert set(rows) == {told["primary"]["name"], *(other["name"] for other in told["others"])}
    for difference in (told["primary"], *told["others"]):
        champion, its, challenger, theirs, gain, interval = rows[difference["name"]]
        assert [float(champion), float(challenger), float(gain)] == pytest.approx(
            [difference["champion"], difference["challenger"], difference["gain"]], abs=5.1e-5
        )
        for shown, name in ((its, "champion_interval"), (theirs, "challenger_interval"), (interval, "interval")):
            assert list(map(float, shown.split(" to "))) == pytest.approx(difference[name], abs=5.1e-5)


def test_guardrails_slices_and_groups_are_those_of_the_verdict(config: Config, read) -> None:
    told, tables = verdict(), read(evidence(config))
    rails = pages.under(tables, "guardrail")
    for rail in told["guardrails"]:
        shown = rails[rail["name"]]
        assert [float(cell) for cell in shown[:3]] == pytest.approx(
            [rail["champion"], rail["challenger"], rail["gain"]], abs=5.1e-5
        )
        assert shown[-1] == rail["status"]
    shown_slices = next(rows for rows in tables if rows[0][0] == "slice")[1:]
    assert [row[:2] + row[-1:] for row in shown_slices] == [[e["slice"], e["group"], e["status"]] for e in told["slices"]]
    for row, each in zip(shown_slices, told["slices"], strict=True):
        assert int(row[2].replace(",", "")) == each["rows"]
        if each["gain"] is None:
            assert row[6] == "–"
        else:
            assert float(row[6]) == pytest.approx(each["gain"], abs=5.1e-5)
    groups = next(rows for rows in tables if rows[0][0] == "attribute")[1:]
    for row, each in zip(groups, told["fairness"], strict=True):
        value, low, high = (float(figure) / 100 for figure in re.findall(r"[\d.]+", row[-1]))
        assert [value, low, high] == pytest.approx([each["recall"][name] for name in ("value", "low", "high")], abs=5.1e-5)


def test_data_settings_and_environment_are_those_of_the_record(config: Config, read) -> None:
    tables = read(evidence(config))
    windows = pages.under(tables, "window")
    assert windows["train"] == ["2025-02-01 00:00", "2025-02-02 00:00", "1,000", "12", "1.200 %"]
    facts = {row[0]: row[1] for rows in tables for row in rows if len(row) == 2}
    assert facts["chance of promoting an equal challenger"] == "0.05"
    assert facts["gain that is worth waiting for"] == "0.02"
    assert facts["lake table events"] == "version 7"
    assert facts["training set, SHA-256"] == "5" * 64
    assert facts["label delay"].startswith(f"{config.labels.delay.value:g} days: ")
    assert facts["size"] == "321 trees"
    assert facts["best.depth"] == "6"
    assert facts["trials"] == "2 entries"
    assert facts["lock of the dependencies, SHA-256"] == "l" * 64
    assert facts["code commit"] == "f" * 40
    assert facts["environment"] == "Python 3.11"
    for name, value in config.training.model.model_dump().items():
        if isinstance(value, int | float):
            assert float(facts[name]) == pytest.approx(value)
        else:
            assert facts[name] == ("–" if value is None else str(value))
    thresholds = pages.under(tables, "threshold")
    assert thresholds["gate.alpha"] == ["0.05", "probability", config.gate.alpha.reason]
    assert thresholds["labels.delay"][2] == config.labels.delay.reason
    shares = pages.under(tables, "input")
    assert shares["amount"] == ["75.00 %", "0.4321", "+0.1000"]


def test_approval_names_who_when_and_by_which_run(config: Config, read) -> None:
    (row,) = pages.under(read(evidence(config)), "move").values()
    assert "Made champion by ann as of 2025-03-12 02:00; as of 2025-03-12 02:00 it is champion." in _text(
        evidence(config, attributions=None)
    )
    assert row == ["promote", "1", "2", "2025-03-12 02:00", "2025-03-12 02:05", "ann", "scheduled__1", "better"]


def _text(of: Evidence, pictures: dict[str, Path] | None = None) -> str:
    return render.markdown(sections.document(of, pictures or {}))


def test_a_version_that_was_not_promoted_says_so(config: Config) -> None:
    told = _text(evidence(config, moves=(), champion="1", attributions=None))
    assert "Not promoted: as of 2025-03-12 02:00 the ledger holds no move to this version." in told
    assert "| champion now | version 1 |" in told


def test_a_champion_that_was_replaced_says_by_whom(config: Config) -> None:
    told = _text(evidence(config, champion="3", attributions=None))
    assert "Made champion by ann as of 2025-03-12 02:00; as of 2025-03-12 02:00 version 3 is champion." in told


@pytest.mark.parametrize(("gone", "section"), [("guardrails", "Guardrails"), ("slices", "Slices"), ("fairness", "Fairness")])
def test_a_section_that_the_verdict_lacks_is_said_to_be_missing(
    config: Config, pictures: dict[str, Path], gone: str, section: str
) -> None:
    whole = evidence(_described(config))
    assert sections.missing(sections.document(whole, pictures)) == ()
    told = verdict()
    del told[gone]
    document = sections.document(evidence(_described(config), told), pictures)
    assert sections.missing(document) == (section,)
    assert "**Missing.** The verdict" in render.markdown(document)


def _described(config: Config) -> Config:
    risk = Risk(risk="it is used for something else", probability="low", impact="high", mitigation="its purpose is on the card")
    card = CardSettings(
        purpose="ranks payments", owner="risk", contact="risk@bank.example", limits=["none known"], risks=[risk]
    )
    return config.model_copy(update={"card": card})


def test_what_nobody_wrote_or_judged_is_said_to_be_missing(config: Config) -> None:
    bare = config.model_copy(update={"card": CardSettings()})
    document = sections.document(
        evidence(bare, decision=None, moves=(), tuning=None, attributions=None, exploration=None, tags={}), {}
    )
    assert sections.missing(document) == (
        "Purpose",
        "Verdict",
        "Guardrails",
        "Slices",
        "Fairness",
        "Attributions",
        "Data",
        "Settings",
        "Limits",
        "Risks",
        "Environment",
    )
    assert document.badge == "not judged"
    told = render.markdown(document)
    assert "| owner | missing: the deployment file has no card.owner |" in told
    assert "The record does not say: environment, model, SHA-256." in told


def test_a_verdict_of_nulls_is_shown(config: Config) -> None:
    """What could not be computed is null in a verdict."""
    told = verdict()
    for section in ("guardrails", "slices"):
        for each in told[section]:
            each.update(dict.fromkeys(("champion", "challenger", "gain", "lower_bound", "upper_bound", "interval", "p_harm")))
    assert "| ROC AUC | – | – | – | – to – |" in _text(evidence(config, told, attributions=None))


def test_a_risk_stands_in_its_cell_of_the_matrix(config: Config, read) -> None:
    tables = read(evidence(_described(config)))
    matrix = next(rows for rows in tables if rows[0] == ["probability", "low impact", "medium impact", "high impact"])
    assert matrix[1:] == [["high", "–", "–", "–"], ["medium", "–", "–", "–"], ["low", "–", "–", "R1"]]


def test_hostile_words_are_shown_and_run_nothing(config: Config, pictures: dict[str, Path]) -> None:
    told = copy.deepcopy(verdict())
    told["slices"][0] |= {"slice": HOSTILE, "group": HOSTILE, "status": HOSTILE, "told": HOSTILE}
    told["guardrails"][0] |= {"name": HOSTILE, "told": HOSTILE}
    told["primary"]["name"] = HOSTILE
    card = CardSettings(purpose=HOSTILE, owner=HOSTILE, contact=HOSTILE, limits=[HOSTILE], risks=[Risk(**_RISK)])
    moves = tuple(dataclasses.replace(m, actor=HOSTILE, reason=HOSTILE) for m in evidence(config).moves)
    features = (FeatureAttribution(HOSTILE, 1.0, 1.0, 0.0),)
    found = dataclasses.replace(FOUND, features=features)
    hostile = evidence(
        config.model_copy(update={"card": card}), told, moves=moves, attributions=found, tuning={HOSTILE: HOSTILE}
    )
    document = sections.document(hostile, pictures)
    page, text = render.html(document), render.markdown(document)
    assert pages.tags(page) == pages.tags(render.html(sections.document(evidence(_described(config)), pictures)))
    assert "<" not in text.replace("(<", "")
    assert {row[0] for rows in pages.of_html(page) for row in rows} >= {render.printable(HOSTILE)}
    assert all(len(row) == len(rows[0]) for rows in pages.of_markdown(text) for row in rows)


_RISK = {"risk": HOSTILE, "probability": "low", "impact": "low", "mitigation": HOSTILE}
