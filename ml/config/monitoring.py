"""Sections on what is watched, when that asks for a training, and who is told."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from ml.config.thresholds import Days, Nights, PerMonth, PerYear, Ratio, Section, Share, Threshold

Event = Literal[
    "stopped batch",
    "data incident",
    "drift",
    "performance",
    "refused training",
    "verdict",
    "promotion",
    "rollback",
    "missed deadline",
]


class Faults(Section):
    """When a day's feed counts as broken: an incident that is reported, and never a reason to train.

    Attributes:
        volume: a day with less than this part of its weekday's usual rows, or more than its reciprocal.
        missing: a column in which so many more values are missing than in the champion's reference.
        unseen: a category's column in which so many values were never seen.
        set_aside: a day of which so many rows were quarantined or rejected.
    """

    volume: Ratio = Threshold(value=0.65, unit="ratio", reason="weekdays differ by a quarter, days of one weekday by a tenth")
    missing: Share = Threshold(value=0.05, unit="share", reason="a feed that loses one value in twenty has a fault")
    unseen: Share = Threshold(
        value=0.2, unit="share", reason="new categories come one by one; a fifth at once is a new code list"
    )
    set_aside: Share = Threshold(value=0.05, unit="share", reason="single rows are set aside daily; one in twenty is the feed")


class Monitoring(Section):
    """What is watched on every day of a champion.

    Attributes:
        drift_alarms, performance_alarms: false alarms that each family of signals may raise in a year.
        cooldown: so long after a confirmed alarm the same signal confirms no other one.
        severity: share of the model's importance that must drift, weighed by how far, before that asks for a training.
        refused: nights in a row on which a training was refused, until people are told.
    """

    drift_alarms: PerYear = Threshold(value=1, unit="per year", reason="a false alarm costs a training and trust")
    performance_alarms: PerYear = Threshold(value=1, unit="per year", reason="a false alarm costs a training and trust")
    cooldown: Days = Threshold(value=14, unit="days", reason="an alarm that stands says nothing new on the next day")
    severity: Share = Threshold(value=0.05, unit="share", reason="features that hold less of the model cannot move many scores")
    refused: Nights = Threshold(value=3, unit="nights", reason="one bad night mends itself; three leave the champion to age")
    faults: Faults = Faults()


class Retraining(Section):
    """What holds a request for a training back; a person's request passes both.

    Attributes:
        cooldown: so long after a training that drift or a loss of performance had started, neither starts another one.
        budget: trainings that drift or a loss of performance may start within thirty days.
        new_data: new data start a training only so long after the last one.
    """

    cooldown: Days = Threshold(
        value=14, unit="days", reason="answers on what the last one changed take about two weeks to come in"
    )
    budget: PerMonth = Threshold(value=2, unit="per month", reason="nightly trainings go on; more in haste would chase noise")
    new_data: Days = Threshold(
        value=0, unit="days", reason="whenever rows come in; what is new to judge on is counted elsewhere"
    )


class Notification(Section):
    """A channel that people read, and which events it is told of; all when none is named.

    Attributes:
        to: `log` is the log of the task that sends.
        connection: the Airflow connection with address and login; every channel but `log` needs one.
        recipients: mail addresses.
    """

    to: Literal["log", "slack", "email", "webhook"]
    connection: str | None = None
    recipients: list[str] = []
    events: Annotated[list[Event], Field(min_length=1)] | None = None

    @property
    def channel(self) -> str:
        """Name of the channel, by which deliveries are recorded."""
        return " ".join(filter(None, [self.to, self.connection, *sorted(self.recipients)]))

    @property
    def wanted(self) -> tuple[str, ...]:
        """The events that the channel is told of."""
        return tuple(self.events) if self.events else get_args(Event)

    @model_validator(mode="after")
    def _complete(self) -> Notification:
        if self.to != "log" and self.connection is None:
            raise ValueError(f"'connection' is missing: name the Airflow connection of {self.to}")
        if (self.to == "email") != bool(self.recipients):
            raise ValueError("'recipients' belong to 'email', which needs them")
        return self
