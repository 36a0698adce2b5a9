"""Sections on monitoring, the requests for trainings that it makes, and notifications."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from ml.config.thresholds import Days, Nights, PerMonth, PerYear, PositivesSince, Ratio, Section, Share, Threshold

MessageKind = Literal[
    "stopped batch",
    "data incident",
    "drift",
    "performance",
    "refused training",
    "verdict",
    "promotion",
    "refresh",
    "rollback",
    "release",
    "missed deadline",
]


class Faults(Section):
    """When a day's feed counts as broken: an incident is reported, and never starts a training.

    Attributes:
        volume: lowest ratio of a day's rows to its weekday's usual rows; the highest is its reciprocal.
        missing: largest increase of a column's share of missing values over the champion's reference.
        unseen: largest share of a category column's values that were never seen before.
        set_aside: largest share of a day's rows that were quarantined or rejected.
    """

    volume: Ratio = Threshold(value=0.65, unit="ratio", reason="weekdays differ by a quarter, days of one weekday by a tenth")
    missing: Share = Threshold(value=0.05, unit="share", reason="a feed that loses one value in twenty has a fault")
    unseen: Share = Threshold(
        value=0.2, unit="share", reason="new categories come one by one; a fifth at once is a new code list"
    )
    set_aside: Share = Threshold(value=0.05, unit="share", reason="single rows are set aside daily; one in twenty is the feed")


class Monitoring(Section):
    """How every day of a champion is monitored.

    Attributes:
        drift_alarms, performance_alarms: false alarms per year that each family of signals may raise.
        cooldown: time after a confirmed alarm in which the same signal confirms no other one.
        severity: share of the model's importance, weighted by the size of drift, from which drift requests a training.
        refused: consecutive nights with a refused training after which a message is sent.
        faults: when a day's feed counts as broken.
    """

    drift_alarms: PerYear = Threshold(value=1, unit="per year", reason="a false alarm costs a training and trust")
    performance_alarms: PerYear = Threshold(value=1, unit="per year", reason="a false alarm costs a training and trust")
    cooldown: Days = Threshold(value=14, unit="days", reason="an alarm that stands says nothing new on the next day")
    severity: Share = Threshold(value=0.05, unit="share", reason="features that hold less of the model cannot move many scores")
    refused: Nights = Threshold(value=3, unit="nights", reason="one bad night mends itself; three leave the champion to age")
    faults: Faults = Faults()


class Retraining(Section):
    """Limits on trainings that drift, lost performance and new data start; a person and the schedule are exempt.

    Attributes:
        cooldown: time after a training started by drift or a loss of performance in which neither starts another one.
        budget: trainings that drift or a loss of performance may start within 30 days.
        new_data: shortest time from the last training to one that new data start.
        positives: labelled positives since the day of an alarm that the model shipped by a training has to be fitted on for the
            alarm to start it; until then its request waits. 0: an alarm starts a training at once.
    """

    cooldown: Days = Threshold(
        value=14, unit="days", reason="labels on what the last one changed take about two weeks to come in"
    )
    budget: PerMonth = Threshold(value=2, unit="per month", reason="nightly trainings go on; more in haste would chase noise")
    new_data: Days = Threshold(
        value=0, unit="days", reason="whenever rows come in; what is new to judge on is counted elsewhere"
    )
    positives: PositivesSince = Threshold(
        value=0, unit="positives", reason="an alarm starts a training at once, on newer rows than the champion's"
    )


class Notification(Section):
    """A channel for messages.

    Attributes:
        to: kind of channel; `log` is the log of the sending task.
        connection: the Airflow connection with address and login; every channel but `log` needs one.
        recipients: mail addresses.
        events: the kinds of messages that it gets; null for all.
    """

    to: Literal["log", "slack", "email", "webhook"]
    connection: str | None = None
    recipients: list[str] = []
    events: Annotated[list[MessageKind], Field(min_length=1)] | None = None

    @property
    def channel(self) -> str:
        """Name of the channel, by which deliveries are recorded."""
        return " ".join(filter(None, [self.to, self.connection, *sorted(self.recipients)]))

    @property
    def wanted(self) -> tuple[str, ...]:
        """The kinds of messages that the channel gets."""
        return tuple(self.events) if self.events else get_args(MessageKind)

    @model_validator(mode="after")
    def _complete(self) -> Notification:
        if self.to != "log" and self.connection is None:
            raise ValueError(f"'connection' is missing: name the Airflow connection of {self.to}")
        if (self.to == "email") != bool(self.recipients):
            raise ValueError("'recipients' belong to 'email', which needs them")
        return self
