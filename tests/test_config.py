"""A deployment file is checked on load, and what is wrong is named by its key."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from ml.config import PROJECT, ConfigError, load
from ml.features.history import folder
from ml.training.trials import distributions
from tests import deployments


def _refusal(tmp_path: Path, told: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(deployments.write(tmp_path, told))
    return str(caught.value)


@pytest.mark.parametrize("name", ["demo", "handbook", "flights"])
def test_the_deployments_that_come_with_the_project_are_valid(name: str) -> None:
    assert load(f"config/{name}.yaml").windows


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    told = deployments.raw()
    del told["training"]["model"]["iterations"]
    assert "required keys are missing: training.model.iterations" in _refusal(tmp_path, told)


def test_missing_keys_are_told_together(tmp_path: Path) -> None:
    told = deployments.raw()
    del told["training"]["model"]["iterations"], told["windows"][0]["entity"], told["schedule"], told["events"]["lag"]["unit"]
    lacking = "events.lag.unit, windows.0.entity, training.model.iterations, schedule"
    assert f"required keys are missing: {lacking}" in _refusal(tmp_path, told)


def test_reasons_that_nobody_has_written_are_told_together(tmp_path: Path) -> None:
    told = deployments.raw()
    told["labels"]["delay"]["reason"] = "TODO why a week?"
    told["gate"]["guardrails"]["size"]["reason"] = "TODO"
    told["description"] = "TODO what is scored, and what a positive is"
    refused = _refusal(tmp_path, told)
    assert "yet to write, in place of TODO: description, labels.delay.reason" in refused
    assert "gate.guardrails.size.reason" in refused


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ("gate", "aplha", "gate.aplha: unknown key; did you mean 'alpha'?"),
        ("request", "ratio", "request.ratio: unknown key; did you mean 'ratios'?"),
        ("feed", "sead", "feed.simulate.sead: unknown key; did you mean 'seed'?"),
        ("request", "zzz", "request.zzz: unknown key; possible here: clock, ratios"),
    ],
)
def test_a_refused_key_says_what_is_possible(tmp_path: Path, section: str, key: str, message: str) -> None:
    told = deployments.raw()
    told[section][key] = 1
    assert message in _refusal(tmp_path, told)


def test_a_file_that_is_no_text_is_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_bytes(b"\xff\xfe\x00PAR1")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        load(path)


def test_a_key_that_nobody_reads_is_named(tmp_path: Path) -> None:
    told = deployments.raw() | {"labls": {}}
    assert "labls: unknown key; did you mean 'labels'?" in _refusal(tmp_path, told)


def test_a_threshold_in_another_unit_is_refused(tmp_path: Path) -> None:
    told = deployments.raw()
    told["labels"]["delay"]["unit"] = "weeks"
    assert "labels.delay: Value error, unit is 'weeks', expected 'days' or 'hours'" in _refusal(tmp_path, told)


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        (5, "hours", "value is 5 hours, expected 1, 2, 3, 4, 6, 8, 12 or 24"),
        (1.5, "hours", "value is 1.5 hours, expected 1, 2, 3, 4, 6, 8, 12 or 24"),
        (0.5, "hours", "value is 0.5 hours, expected 1 to 24"),
        (48, "hours", "value is 48 hours, expected 1 to 24"),
        (1, "days", "unit is 'days', expected 'hours'"),
    ],
)
def test_a_day_is_a_whole_number_of_snapshots(tmp_path: Path, value: float, unit: str, message: str) -> None:
    told = deployments.raw()
    told["windows"][0]["publish"] = {"value": value, "unit": unit, "reason": "as the test asks"}
    assert f"windows.0.publish: Value error, {message}" in _refusal(tmp_path, told)


def test_a_snapshot_a_day_is_what_a_window_without_publish_has(tmp_path: Path) -> None:
    """Neither what is published nor what is made of it has another address."""
    told = deployments.raw()
    silent = load(deployments.write(tmp_path, told))
    told["windows"][0]["publish"] = {"value": 24, "unit": "hours", "reason": "as the test asks"}
    (tmp_path / "told").mkdir()
    outspoken = load(deployments.write(tmp_path / "told", told)).model_copy(update={"home": silent.home})
    assert silent.windows[0].interval == outspoken.windows[0].interval == dt.timedelta(days=1)
    assert silent.fingerprint == outspoken.fingerprint
    assert folder(silent, silent.windows[0]) == folder(outspoken, outspoken.windows[0])
    assert "publish" not in silent.portable_json


def test_a_cadence_has_a_folder_of_its_own_and_its_reason_has_none(tmp_path: Path) -> None:
    told, places = deployments.raw(), []
    for hours, reason in [(6, "labels come at any hour"), (6, "another reason"), (4, "another reason"), (24, "another reason")]:
        told["windows"][0]["publish"] = {"value": hours, "unit": "hours", "reason": reason}
        (tmp_path / f"{len(places)}").mkdir()
        config = load(deployments.write(tmp_path / f"{len(places)}", told))
        places.append(folder(config, config.windows[0]).name)
    assert places[0] == places[1]
    assert len(set(places)) == 3


def test_a_threshold_without_a_reason_is_refused(tmp_path: Path) -> None:
    told = deployments.raw()
    del told["gate"]["alpha"]["reason"]
    assert "required keys are missing: gate.alpha.reason" in _refusal(tmp_path, told)


def test_a_gate_that_would_promote_by_chance_is_refused(tmp_path: Path) -> None:
    told = deployments.raw()
    told["gate"]["alpha"]["value"] = 0.5
    assert "more than 0.2 would promote worse models by chance" in _refusal(tmp_path, told)


def test_only_a_confirmed_trigger_relaxes_the_gate() -> None:
    gate, day = load("config/demo.yaml").gate, dt.timedelta(days=1)
    assert {
        trigger: gate.alpha_of(trigger, 20 * day) for trigger in ("schedule", "new_data", "on_demand", "performance", "drift")
    } == {
        "schedule": 0.05,
        "new_data": 0.05,
        "on_demand": 0.05,
        "performance": 0.2,
        "drift": 0.2,
    }


def test_a_champion_that_nobody_replaced_for_long_meets_a_relaxed_gate() -> None:
    gate, day = load("config/demo.yaml").gate, dt.timedelta(days=1)
    assert [gate.alpha_of("schedule", age * day) for age in (0, 20, 21, 365)] == [0.05, 0.05, 0.2, 0.2]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("relaxed", {"drift": {"value": 0.5, "unit": "probability", "reason": "very much so"}}, "drift is 0.5, more than 0.2"),
        ("relaxed", {"schedule": {"value": 0.1, "unit": "probability", "reason": "every night"}}, "relaxed names ['schedule']"),
        ("metric", "accuracy", "Input should be 'average precision' or 'expected cost'"),
        ("metric", "expected cost", "worthwhile_gain has the unit 'average precision', expected 'money per day'"),
        ("fresh", {"value": 0, "unit": "days", "reason": "every night"}, "expected whole days, at least 1"),
        (
            "fresh",
            {"value": 15, "unit": "days", "reason": "every night"},
            "gate.fresh: 15 days, more than training.holdout has",
        ),
        ("fairness", {"attributes": ["amount"]}, "gate.fairness: 'amount' is not one of"),
        ("enabled", False, "gate.enabled: unknown key"),
        ("dry_run", True, "gate.dry_run: unknown key"),
    ],
)
def test_a_gate_that_cannot_be_trusted_is_refused(tmp_path: Path, key: str, value: Any, message: str) -> None:
    told = deployments.raw()
    told["gate"][key] = value
    assert message in _refusal(tmp_path, told)


def test_a_guardrail_cannot_be_left_out(tmp_path: Path) -> None:
    for name in ("roc_auc", "card_precision", "calibration", "latency", "size"):
        told = deployments.raw()
        del told["gate"]["guardrails"][name]
        assert f"required keys are missing: gate.guardrails.{name}" in _refusal(tmp_path, told)


def test_costs_are_needed_where_they_decide(tmp_path: Path) -> None:
    told = deployments.raw()
    del told["costs"]
    assert "costs: missing, but the gate asks for the expected cost" in _refusal(tmp_path, told)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entities": {"customer": "card"}}, "entities.customer: 'card' is not in events.columns"),
        ({"categories": ["colour"]}, "categories: 'colour' is not in events.columns"),
        ({"request": {"ratios": ["customer_amount_mean_2d"]}}, "request.ratios: 'customer_amount_mean_2d' is not a mean"),
    ],
)
def test_a_name_that_nothing_declares_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    assert message in _refusal(tmp_path, deployments.raw() | change)


def test_a_cap_of_what_is_no_entity_is_refused(tmp_path: Path) -> None:
    told = deployments.raw()
    told["training"]["caps"]["card"] = told["training"]["caps"]["customer"]
    assert "training.caps.card: not one of entities ['customer', 'terminal']" in _refusal(tmp_path, told)


def test_a_label_window_shorter_than_the_labels_delay_is_refused(tmp_path: Path) -> None:
    told = deployments.raw()
    told["windows"][2]["delay"] = 3
    assert "windows.2.delay: 3 days, below labels.delay" in _refusal(tmp_path, told)
    told["windows"][2]["delay"] = "144 hours"
    assert "windows.2.delay: 144 hours, below labels.delay" in _refusal(tmp_path, told)


def test_a_label_window_may_end_before_all_answers_are_in_where_the_others_are_left_out(tmp_path: Path) -> None:
    told = deployments.raw()
    told["windows"][2]["delay"] = 3
    told["labels"]["complete"] = True
    assert load(deployments.write(tmp_path, told)).windows[2].delay_span == dt.timedelta(days=3)


def test_a_delay_takes_hours_that_end_at_a_snapshot(tmp_path: Path) -> None:
    told = deployments.raw()
    told["labels"]["delay"] |= {"value": 30, "unit": "hours"}
    for hours, every in [("48 hours", 24), ("30 hours", 6), ("31 hours", 1)]:
        told["windows"][2] |= {"delay": hours, "publish": {"value": every, "unit": "hours", "reason": "as the test asks"}}
        config = load(deployments.write(tmp_path, told))
        assert config.windows[2].delay_span == dt.timedelta(hours=int(hours.split()[0]))
    assert config.label_delay == dt.timedelta(hours=30)


@pytest.mark.parametrize(
    ("delay", "told"),
    [
        ("30 hours", "give 24 or 48 hours, or 'publish' every 1 or 2 or 3 or 6 hours"),
        ("7 hours", "give 0 or 24 hours, or 'publish' every 1 hours"),
        ("a day", "'a day' is neither a number of days, 0 to 366, nor a text such as '30 hours'"),
        ("-3 hours", "'-3 hours' is neither a number of days"),
        ("9999 hours", "'9999 hours' is neither a number of days"),
        (1.5, "windows.0.delay"),
    ],
)
def test_a_delay_that_ends_between_snapshots_is_refused_with_what_is_possible(tmp_path: Path, delay: object, told: str) -> None:
    written = deployments.raw()
    written["windows"][0]["delay"] = delay
    assert told in _refusal(tmp_path, written)


@pytest.mark.parametrize(
    ("field", "searched", "message"),
    [
        ("dpeth", {"low": 2, "high": 8}, "tuning.space: 'dpeth' cannot be searched; settings of the model that can: ['depth'"),
        ("random_seed", {"low": 0, "high": 99}, "tuning.space: 'random_seed' cannot be searched"),
        ("depth", {"low": 4, "high": 40}, "tuning.space.depth: 40.0: Input should be less than or equal to 12"),
        ("depth", {"low": 4.5, "high": 8}, "tuning.space.depth: 4.5: Input should be a valid integer"),
        ("depth", {"choices": [6, "deep"]}, "tuning.space.depth: 'deep': Input should be a valid integer"),
        ("depth", {"choices": [6, None]}, "tuning.space.depth: None: Input should be a valid integer"),
        ("depth", {"low": 2, "high": 4}, "tuning.space.depth: the model's own 6 is not in it"),
        ("depth", {"low": 8, "high": 2}, "training.tuning.space.depth.range: Value error, low is 8, expected less than high"),
        ("l2_leaf_reg", {"low": 0, "high": 9, "log": True}, "low is 0, expected more than 0 where log is true"),
        ("depth", {"low": 2, "hihg": 8}, "training.tuning.space.depth.range.hihg: unknown key; did you mean 'high'?"),
    ],
)
def test_a_space_that_the_model_does_not_have_is_refused(
    tmp_path: Path, field: str, searched: dict[str, Any], message: str
) -> None:
    told = deployments.raw()
    told["training"]["tuning"]["space"] = {field: searched}
    assert message in _refusal(tmp_path, told)


def test_a_setting_that_may_be_null_is_searched_by_choices(tmp_path: Path) -> None:
    told = deployments.raw()
    told["training"]["tuning"]["space"] = {"half_life": {"choices": [None, 14, 30]}}
    training = load(deployments.write(tmp_path, told)).training
    assert distributions(training.tuning, training.model)["half_life"].choices == (None, 14, 30)
    told["training"]["tuning"]["space"] = {"half_life": {"choices": [None, 3]}}
    assert "tuning.space.half_life: 3: Input should be greater than or equal to 7" in _refusal(tmp_path, told)
    told["training"]["tuning"]["space"] = {"half_life": {"low": 7, "high": 30}}
    assert "tuning.space.half_life: the model's own None is not in it" in _refusal(tmp_path, told)


def test_column_names_cannot_carry_sql(tmp_path: Path) -> None:
    told = deployments.raw()
    told["events"]["columns"]["amount; DROP TABLE events"] = "amount"
    assert "must be lower-case letters, digits and underscores" in _refusal(tmp_path, told)


def test_no_file_and_no_yaml_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load(broken)


def test_a_file_that_extends_another_has_its_sections_but_for_its_own(tmp_path: Path) -> None:
    base, file = deployments.write(tmp_path, deployments.raw()), tmp_path / "servers.yaml"
    file.write_text(f"extends: {base.name}\nhome: elsewhere\nmlflow_uri: http://mlflow:5000\n")
    one, other = load(base), load(file)
    assert (other.name, other.tracking, other.home) == (one.name, "http://mlflow:5000", PROJECT / "elsewhere")
    assert other.fingerprint == one.fingerprint
    base.write_text(base.read_text().replace("name: card_fraud", "name: renamed"))
    assert load(file).name == "renamed"


def test_files_that_extend_one_another_or_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("extends: other.yaml")
    with pytest.raises(ConfigError, match=r"other\.yaml: no such file"):
        load(one)
    other.write_text("extends: one.yaml")
    with pytest.raises(ConfigError, match="it extends itself"):
        load(one)


def test_a_secret_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = deployments.write(
        tmp_path, deployments.raw() | {"ledger_uri": "postgresql://perennial:${LEDGER_PASSWORD}@db/ledger"}
    )
    with pytest.raises(ConfigError, match="LEDGER_PASSWORD is not set"):
        load(path)
    monkeypatch.setenv("LEDGER_PASSWORD", "from-the-vault")
    assert load(path).ledger == "postgresql://perennial:from-the-vault@db/ledger"


def test_where_things_are_stored_does_not_change_what_is_computed(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    here.mkdir()
    there.mkdir()
    told = deployments.raw()
    assert load(deployments.write(here, told)).fingerprint == load(deployments.write(there, told)).fingerprint
    told["training"]["model"]["depth"] = 5
    changed = tmp_path / "c"
    changed.mkdir()
    assert load(deployments.write(changed, told)).fingerprint != load(deployments.write(here, deployments.raw())).fingerprint


def test_a_card_is_optional_and_changes_nothing_that_is_computed(tmp_path: Path) -> None:
    told = deployments.raw()
    with_card = load(deployments.write(tmp_path, told))
    del told["card"]
    (tmp_path / "bare").mkdir()
    bare = load(deployments.write(tmp_path / "bare", told))
    assert with_card.card.owner
    assert (bare.card.purpose, bare.card.owner, bare.card.limits, bare.card.risks) == (None, None, [], [])
    assert bare.fingerprint == with_card.fingerprint


def test_a_risk_has_a_level_of_three_and_a_mitigation(tmp_path: Path) -> None:
    told = deployments.raw()
    told["card"]["risks"] = [{"risk": "a new pattern", "probability": "likely", "impact": "high"}]
    refusal = _refusal(tmp_path, told)
    assert "card.risks.0.probability: Input should be 'low', 'medium' or 'high'" in refusal
    assert "required keys are missing: card.risks.0.mitigation" in refusal
