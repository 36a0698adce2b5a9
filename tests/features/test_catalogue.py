"""Every feature of a deployment is described where its window is declared, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from feature_repo.views import definitions
from ml.config import load
from ml.features.catalogue import catalogue
from ml.store.feast import feature_names
from tests import deployments


def test_the_catalogue_lists_the_models_features_in_their_order() -> None:
    config = load("config/demo.yaml")
    assert [feature.name for feature in catalogue(config)] == feature_names(config)


def test_a_description_tells_entity_column_aggregate_length_and_delay() -> None:
    told = {feature.name: feature.description for feature in catalogue(load("config/demo.yaml"))}
    week = "in the 7 days before midnight UTC"
    assert told["customer_amount_mean_7d"] == f"mean of amount over a customer's events that have it {week}"
    assert told["customer_amount_sum_7d"] == f"sum of amount over a customer's events that have it {week}"
    assert told["customer_amount_count_7d"] == f"number of a customer's events, with or without amount, {week}"
    assert (
        told["terminal_label_count_30d"] == "number of a terminal's events in the 30 days that ended 7 days before midnight UTC"
    )
    assert told["clock_night"] == "1 if the event is before 6 in the morning, else 0, UTC time"


def test_a_description_tells_how_often_the_view_is_published(tmp_path: Path) -> None:
    told = deployments.raw()
    for window in told["windows"]:
        window["publish"] = {"value": 4, "unit": "hours", "reason": "as the test asks"}
    of = {feature.name: feature.description for feature in catalogue(load(deployments.write(tmp_path, told)))}
    end = "the newest 4-hour mark from midnight UTC"
    assert of["customer_amount_mean_7d"] == f"mean of amount over a customer's events that have it in the 7 days before {end}"
    assert of["terminal_label_count_30d"].endswith(f"in the 30 days that ended 7 days before {end}")


def test_feast_knows_every_feature_with_its_description() -> None:
    config = load("config/demo.yaml")
    views = {view.name: view for view in definitions(config) if hasattr(view, "schema")}
    for feature in catalogue(config):
        [field] = [field for field in views[feature.view].schema if field.name == feature.name]
        assert feature.description in (field.description or views[feature.view].description)
