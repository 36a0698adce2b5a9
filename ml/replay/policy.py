"""A policy of retraining: what starts a training, what is shipped, and where it differs from the deployment file.

Written as `TRIGGERS[:PROTOCOL][:KEY=VALUE…]`, the triggers joined by `+`.

Example: on drift or every week, with a refit, and the champion refreshed from its first day on.
    >>> policy = Policy.parse("drift+weekly:refit:training.refit.refresh=1")
    >>> sorted(policy.triggers), policy.protocol, policy.changes
    (['drift', 'weekly'], 'refit', (('training.refit.refresh', 1),))
    >>> sorted(Policy.parse("any").triggers)
    ['drift', 'new_data', 'performance']
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import ValidationError

from ml.config import Config
from ml.config.thresholds import Threshold
from ml.config.training import Refit
from ml.errors import BadInput

TriggerWord = Literal["never", "weekly", "nightly", "new_data", "drift", "performance", "any"]
Protocol = Literal["own", "judged", "refit", "early"]
NEVER, WEEKLY, NIGHTLY, NEW_DATA, DRIFT, PERFORMANCE, ANY = get_args(TriggerWord)
ALARMS = frozenset({DRIFT, PERFORMANCE})
UNION = ALARMS | {NEW_DATA}
"""What `any` stands for: all that asks by itself, without a clock."""

REFIT = Refit(
    refresh=Threshold(value=1, unit="days", reason="at every training, for a model heals only by newer rows"),
    correlation=Threshold(value=0.5, unit="correlation", reason="newer rows leave the order of most events as it was"),
    overlap=Threshold(value=0.3, unit="share", reason="after a drift the refit alerts what the judged model cannot know"),
    calibration=Threshold(value=1, unit="share of the positives", reason="a fraud that is new may double the level"),
)
"""The refit of a deployment whose file has none."""
EARLY = Threshold(value=0.3, unit="share", reason="a positive then counts for three at most")
"""From which age on a refit learns from rows, where the file does not say so."""


@dataclass(frozen=True)
class Policy:
    """A policy, by the name under which it was asked for; it also is the text that `parse` takes.

    Attributes:
        triggers: what starts a training once there is a champion; `never` alone starts none.
        protocol: `judged` ships the judged model, `refit` its refit, `early` a refit that learns from early answers too, `own`
            what the deployment file says.
        changes: keys of the deployment file with other values; of a threshold the value.
    """

    name: str
    triggers: frozenset[str]
    protocol: Protocol = "own"
    changes: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def parse(cls, name: str) -> Policy:
        """Read a policy.

        Raises:
            BadInput: a word is unknown, or a change has no value.
        """
        words, *rest = name.split(":")
        triggers = set(words.split("+"))
        if unknown := triggers - set(get_args(TriggerWord)):
            raise BadInput(f"policy {name!r}: no trigger {sorted(unknown)}; there are {', '.join(get_args(TriggerWord))}")
        if NEVER in triggers and len(triggers) > 1:
            raise BadInput(f"policy {name!r}: 'never' stands alone")
        protocol = rest.pop(0) if rest and "=" not in rest[0] else "own"
        if protocol not in get_args(Protocol):
            raise BadInput(f"policy {name!r}: no protocol {protocol!r}; there are {', '.join(get_args(Protocol))}")
        changes = tuple(_change(name, text) for text in rest)
        return cls(name, frozenset(triggers - {ANY} | (UNION if ANY in triggers else set())), protocol, changes)  # type: ignore[arg-type]

    def applied(self, config: Config) -> Config:
        """The deployment under this policy.

        Raises:
            BadInput: a changed key does not exist, or its value is none that the deployment file could have.
        """
        refit = config.training.refit
        if self.protocol != "own":
            refit = None if self.protocol == "judged" else refit or REFIT
        if refit is not None and self.protocol != "own":
            refit = refit.model_copy(update={"early": refit.early or EARLY if self.protocol == "early" else None})
        settings = config.model_copy(update={"training": config.training.model_copy(update={"refit": refit})}).model_dump()
        for key, value in self.changes:
            _set(self.name, settings, key, value)
        try:
            return Config.model_validate(settings)
        except ValidationError as error:
            found = error.errors()[0]
            raise BadInput(f"policy {self.name!r}: {'.'.join(map(str, found['loc']))}: {found['msg']}") from error


def _change(name: str, text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        raise BadInput(f"policy {name!r}: {text!r} is no change; write KEY=VALUE, such as retraining.cooldown=7") from None


def _set(name: str, settings: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    within: Any = settings
    for parent in parents:
        within = within.get(parent) if isinstance(within, dict) else None
    if not isinstance(within, dict) or last not in within:
        raise BadInput(f"policy {name!r}: the deployment file has no key {key!r}")
    is_threshold = isinstance(within[last], dict) and {"value", "unit", "reason"} <= set(within[last])
    if is_threshold and value is not None:
        within[last] = within[last] | {"value": value}
    else:
        within[last] = value
