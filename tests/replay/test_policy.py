"""A policy is written in one word, and is the deployment with another protocol and other limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.config import Config, load
from ml.errors import BadInput
from ml.replay.play import by_trials
from ml.replay.policy import Policy
from tests import deployments


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return deployments.small(tmp_path_factory.mktemp("policy"))


def test_triggers_protocols_and_changes_compose(config: Config) -> None:
    policy = Policy.parse("weekly+performance:refit:training.refit.refresh=5:retraining.cooldown=9:training.train=28")
    applied = policy.applied(config)
    assert policy.triggers == {"weekly", "performance"}
    assert applied.training.refit is not None
    assert applied.training.refit.refresh.value == 5
    assert (applied.retraining.cooldown.value, applied.training.train.value) == (9, 28)
    assert applied.retraining.cooldown.unit == config.retraining.cooldown.unit
    assert Policy.parse("any:judged").applied(applied).training.refit is None
    assert Policy.parse("any").applied(applied) == applied


def test_any_is_the_union_of_what_asks_without_a_clock() -> None:
    together = Policy.parse("new_data+drift+performance")
    assert Policy.parse("any").triggers == together.triggers
    assert Policy.parse("any+nightly").triggers == together.triggers | {"nightly"}
    assert Policy.parse("never").triggers == {"never"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hourly", "no trigger .'hourly'.; there are never, weekly"),
        ("never+drift", "'never' stands alone"),
        ("any:shipped", "no protocol 'shipped'; there are own, judged, refit, early"),
        ("any:retraining.cooldown", "no protocol"),
        ("any:own:retraining.cooldown=soon", "is no change; write KEY=VALUE"),
    ],
)
def test_a_policy_that_is_none_is_refused(name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Policy.parse(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("retraining.cool=1", "has no key 'retraining.cool'"),
        ("training.refit.refresh=1", "has no key 'training.refit.refresh'"),
        ("retraining.cooldown=-1", "expected 0 to 3650"),
    ],
)
def test_a_change_that_the_file_could_not_have_is_refused(config: Config, change: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Policy.parse(f"any:judged:{change}").applied(config)


def test_a_search_ends_by_its_trials(tmp_path: Path) -> None:
    told = deployments.raw()
    told["training"]["tuning"] |= {"workers": 2}
    searching = load(deployments.write(tmp_path, told))
    counted = by_trials(searching, 4).training.tuning
    assert counted is not None
    assert (counted.trials.value, counted.workers, counted.budget.value) == (4, 1, 24 * 60)
    assert by_trials(Policy.parse("any:own:training.tuning=null").applied(searching), 4).training.tuning is None
