"""What each expectation came to is kept with the newest validation, in rows, and told beside the suite as it stands."""

from __future__ import annotations

import dataclasses
import datetime as dt

from ml import steps
from ml.config import Config
from ml.config.suites import events_suite
from ml.overview.data import Check, data
from ml.quality import results
from ml.quality.suites import Failure, Result
from tests import deployments

AS_OF = deployments.FIRST_AS_OF
DAY = dt.date(2025, 3, 10)


def _checks(config: Config) -> dict[tuple[str, str], Check]:
    """What the page tells of the expectations on payments, by column and the first words."""
    suite = next(each for each in data(config).checks if each.suite == "events")
    return {(", ".join(each.columns), each.expectation.partition(":")[0]): each for each in suite.checks}


def _ingest(config: Config, night: int = 0) -> None:
    as_of = AS_OF + dt.timedelta(days=night)
    steps.run("load_batch", config, as_of, {"staged": steps.run("validate_batch", config, as_of)["staged"]})


def test_what_failed_and_what_holds_is_told_in_rows_and_not_in_distinct_values(config: Config) -> None:
    assert {(each.holds, each.observed) for each in _checks(config).values()} == {(None, "")}
    rows = deployments.payments(40, DAY)
    rows["channel"] = ["fax"] * 30 + ["chip"] * 10
    rows["amount"] = [-1.0, -1.0, *rows["amount"][2:]]
    deployments.land(config, "payments_1.parquet", rows)
    _ingest(config)
    told = _checks(config)
    amount, channel = (
        told["amount", "column values to be between"],
        told["channel", "column values to be in set"],
    )
    assert (amount.holds, amount.consequence) == (False, "quarantine")
    assert amount.observed.startswith("2 of 40 values")
    assert (channel.holds, channel.consequence) == (False, "warning")
    assert channel.observed == "30 of 40 values (75 %), such as fax"
    country = told["country", "column values to match regex"]
    assert (country.holds, country.observed) == (True, "all of 40 values")


def test_the_newest_validation_takes_the_place_of_the_one_before(config: Config) -> None:
    rows = deployments.payments(40, DAY)
    deployments.land(config, "payments_1.parquet", rows | {"channel": ["fax"] * 40})
    _ingest(config)
    deployments.land(config, "payments_2.parquet", deployments.payments(40, DAY, start=40))
    _ingest(config, 1)
    newest = results.newest(config, "events")
    assert newest is not None
    assert (newest.subject, newest.files, newest.as_of) == ("payments_2.parquet", 1, AS_OF + dt.timedelta(days=1))
    assert _checks(config)["channel", "column values to be in set"].holds
    _ingest(config, 2)
    assert results.newest(config, "events") == newest  # nothing has landed, so nothing was checked


def test_of_several_files_the_one_that_failed_is_told(config: Config) -> None:
    entry = events_suite(config).rows[0]
    failed = Result(entry, "2 of 3", dataclasses.replace(_failure(), observed="2 of 3"))
    results.keep(config, AS_OF, "events", "c", [Result(entry, "1"), failed, Result(entry, "3")], files=3)
    newest = results.newest(config, "events")
    assert newest is not None
    assert [(told.holds, told.observed) for told in newest.results] == [(False, "2 of 3")]


def _failure() -> Failure:
    return Failure("event_id", "expect_column_values_to_not_be_null", "holds", "", True, "why")
