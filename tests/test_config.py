"""A deployment file is checked on load, and what is wrong is named by its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml.config import ConfigError, load
from tests import deployments


def _refusal(tmp_path: Path, told: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(deployments.write(tmp_path, told))
    return str(caught.value)


@pytest.mark.parametrize("name", ["demo", "handbook"])
def test_the_deployments_that_come_with_the_project_are_valid(name: str) -> None:
    assert load(f"config/{name}.yaml").windows


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    told = deployments.raw()
    del told["training"]["model"]["iterations"]
    assert "training.model.iterations: Field required" in _refusal(tmp_path, told)


def test_a_key_that_nobody_reads_is_named(tmp_path: Path) -> None:
    told = deployments.raw() | {"labls": {}}
    assert "labls: Extra inputs are not permitted" in _refusal(tmp_path, told)


def test_a_threshold_in_another_unit_is_refused(tmp_path: Path) -> None:
    told = deployments.raw()
    told["labels"]["delay"]["unit"] = "hours"
    assert "labels.delay: Value error, unit is 'hours', expected 'days'" in _refusal(tmp_path, told)


def test_a_threshold_without_a_reason_is_refused(tmp_path: Path) -> None:
    told = deployments.raw()
    del told["gate"]["alpha"]["reason"]
    assert "gate.alpha.reason: Field required" in _refusal(tmp_path, told)


def test_a_gate_that_would_promote_by_chance_is_refused(tmp_path: Path) -> None:
    told = deployments.raw()
    told["gate"]["alpha"]["value"] = 0.5
    assert "more than 0.2 would promote worse models by chance" in _refusal(tmp_path, told)


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


def test_a_label_window_shorter_than_the_labels_delay_is_refused(tmp_path: Path) -> None:
    told = deployments.raw()
    told["windows"][2]["delay"] = 3
    assert "windows.2.delay: 3 days, below labels.delay" in _refusal(tmp_path, told)


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
    told["training"]["model"]["depth"] = 3
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
    assert "card.risks.0.mitigation: Field required" in refusal
