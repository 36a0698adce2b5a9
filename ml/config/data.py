"""Sections on the data: events, labels, the windows over them, and the feed that writes a demo's files."""

from __future__ import annotations

import datetime as dt
import re
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from ml.config.thresholds import Cadence, Days, Delay, Expected, Identifier, Instant, Ratio, Section, Share, Threshold

Epoch = Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]
# Texts that mean "missing": in every column, or by column (names of the deployment).
Missing = Annotated[list[str] | dict[Identifier, list[str]], Field(exclude_if=lambda missing: not missing)]

DAILY = Threshold(value=24, unit="hours", reason="a snapshot a day, of midnight UTC")
HOUR = dt.timedelta(hours=1)


def _hours(text: str) -> str:
    found = re.fullmatch(r"([1-9][0-9]{0,3}) hours", text)
    if not found or int(found[1]) > 366 * 24:
        raise ValueError(f"{text!r} is neither a number of days, 0 to 366, nor a text such as '30 hours'")
    return text


class Delivered(Section):
    """Data that come in files.

    Attributes:
        columns: the deployment's name of each column, and the feed's name.
        missing: texts that mean "missing", with the values that they read as, for all columns or by column. An empty field is
            always missing.
        epoch: unit of times that are numbers, counted from 1970 UTC; without it a number is no time.
    """

    columns: dict[Identifier, str] = {}
    missing: Missing = []
    epoch: Annotated[Epoch | None, Field(exclude_if=lambda epoch: epoch is None)] = None

    @model_validator(mode="after")
    def _missing_where(self) -> Delivered:
        columns = set(self.missing) if isinstance(self.missing, dict) else set()
        if wrong := sorted(columns - {*self.columns, "label"}):
            raise ValueError(f"'missing' names {wrong}, expected columns of {sorted(self.columns)}")
        return self

    def missing_in(self, column: str) -> list[str]:
        """Texts that mean "missing" in a column."""
        return self.missing.get(column, []) if isinstance(self.missing, dict) else self.missing


class Events(Delivered):
    """The events that the model scores. A column that is no id, time, entity, category or attribute is a measure, a number.

    Attributes:
        files: pattern of the names of the files in the landing folder.
        columns: the deployment's name of each column, and the feed's name; `event_id` and `event_time` among them.
        timezone: clock of times without a zone and of the features of the clock, such as `Europe/Paris`.
        suite: path of the expectation suite.
        lag: time from midnight UTC until the file of a day is there.
        volume_low: fewest rows of a day, as a ratio to the median of the days before it.
        volume_high: most rows of a day, as a ratio to the median of the days before it.
        unreadable: largest share of a file's rows with unreadable values; with more the file is stopped.
        oldest: how long before the ingest an event may have happened.
        empty_days: days without events are normal, and a file without rows is no fault.
    """

    files: str
    columns: dict[Identifier, str]
    timezone: str = "UTC"
    suite: str
    lag: Delay
    volume_low: Ratio
    volume_high: Ratio
    unreadable: Share
    oldest: Days
    empty_days: bool = False


class LabelFeed(Section):
    """One kind of label files.

    Attributes:
        files: pattern of the names of the files in the landing folder.
        source: who reports the labels of a file without a column `source`.
    """

    files: str
    source: str | None = None


class PositiveRate(Section):
    """Bounds of the share of positives in a training window; outside of them the labels are assumed to be broken.

    Attributes:
        low: the share has to be above it.
        high: the share has to be below it.
    """

    low: Share
    high: Share

    @model_validator(mode="after")
    def _is_one(self) -> PositiveRate:
        if not self.low.value < self.high.value:
            raise ValueError(f"low is {self.low.value:g}, expected less than high, which is {self.high.value:g}")
        return self


class Labels(Delivered):
    """Where labels come from: files of their own (`files`), or a column of the events (`column`) that is known `delay` later.

    Attributes:
        columns: the deployment's name of each column of the files, and the feed's name: `event_id`, `reported_at`, and `label`
            and `source` if the files have them. Without `label` every row says that its event is positive.
        files: pattern of the names of the files, or one per label feed; a file that matches several belongs to the first.
        column: name of the label's column in files of events.
        suite: path of the expectation suite for files of labels.
        delay: age at which an event without a label counts as a negative.
        complete: every event gets a label sooner or later; an event without one is left out instead of counted as a negative.
        late: share of the labels that may come later than `delay` without a warning.
        rate: bounds of the share of positives in a training window.
        sources: ranks the sources. Of several reports on an event that of the first source counts, of one source the newest.
    """

    files: str | Annotated[list[LabelFeed], Field(min_length=1)] | None = None
    column: str | None = None
    suite: str | None = None
    delay: Delay
    complete: bool = False
    late: Share = Threshold(value=0.1, unit="share", reason="of ten positives one counts as negative, which a model bears")
    rate: PositiveRate | None = None
    sources: list[str] = []

    @model_validator(mode="after")
    def _one_way(self) -> Labels:
        if (self.files is None) == (self.column is None):
            raise ValueError("give either 'files' (labels in files of their own) or 'column' (a column of the events)")
        if self.files is not None:
            missing = {"event_id", "reported_at"} - set(self.columns)
            if missing:
                raise ValueError(f"'columns' lacks {sorted(missing)}")
            if "label" not in self.columns and self.complete:
                raise ValueError("'complete' says that every event is answered, so 'columns' needs 'label': which answer it is")
            if self.suite is None:
                raise ValueError("'suite' is needed when labels come in files")
        named = {feed.source for feed in self.feeds if feed.source is not None}
        if named and "source" not in self.columns:
            raise ValueError("'columns' lacks 'source': the column by which rows say who answers, where their files have it")
        if self.sources and named - set(self.sources):
            raise ValueError(f"'files' names sources {sorted(named - set(self.sources))}, expected of 'sources' {self.sources}")
        return self

    @property
    def feeds(self) -> list[LabelFeed]:
        """The kinds of label files, in the order of matching."""
        return [LabelFeed(files=self.files)] if isinstance(self.files, str) else self.files or []


MILLIONTHS = 6


class _Windows(Section, ABC):
    """Trailing windows of one entity over one column: one entry of the deployment file, one view.

    Attributes:
        entity: name of the entity whose events are counted.
        column: measure that is added up, or `label`.
        aggregates: what is computed over each window.
    """

    entity: Identifier
    column: Identifier
    aggregates: list[Literal["count", "sum", "mean"]]

    @property
    @abstractmethod
    def view(self) -> str:
        """Name of the view."""

    @property
    @abstractmethod
    def lengths(self) -> list[int]:
        """Lengths of the windows, in the unit in which they are declared."""

    @abstractmethod
    def feature(self, aggregate: str, length: int) -> str:
        """Name of one feature."""

    def named(self, *aggregates: str) -> list[str]:
        """Names of the features of these aggregates, in the order of the view's columns."""
        return [self.feature(a, length) for length in self.lengths for a in self.aggregates if a in aggregates]

    @property
    def features(self) -> list[str]:
        """Names of all features of the view, in the order of its columns."""
        return self.named(*self.aggregates)


class Window(_Windows):
    """Windows that end at snapshots, which are published at fixed intervals: a view in Feast.

    Values are rounded and added up exactly, so that a sum does not depend on their order.

    Attributes:
        days: lengths of the windows.
        delay: time from the end of the windows to the snapshot, in days or as a text such as `30 hours`. Windows over `label`
            need at least `labels.delay`, unless `labels.complete` is true.
        publish: interval between snapshots.
        digits: decimal places to which values are rounded.
    """

    days: list[Annotated[int, Field(ge=1, le=366)]]
    delay: Annotated[int, Field(ge=0, le=366)] | Annotated[str, Expected("text such as `30 hours`"), AfterValidator(_hours)] = 0
    publish: Annotated[Cadence, Field(exclude_if=lambda cadence: cadence.value == DAILY.value)] = DAILY
    digits: Annotated[int, Field(ge=0, le=12, exclude_if=lambda digits: digits == MILLIONTHS)] = MILLIONTHS

    @property
    def interval(self) -> dt.timedelta:
        """Time from one snapshot to the next."""
        return self.publish.span

    @property
    def delay_span(self) -> dt.timedelta:
        """Time from the end of the windows to the snapshot."""
        return dt.timedelta(hours=int(self.delay.split()[0])) if isinstance(self.delay, str) else dt.timedelta(days=self.delay)

    @property
    def delay_text(self) -> str:
        """The delay as text, such as `3 days`."""
        return self.delay if isinstance(self.delay, str) else f"{self.delay} day{'s' if self.delay != 1 else ''}"

    @model_validator(mode="before")
    @classmethod
    def _is_of_days(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(raw.get("publish"), str):
            raise ValueError(
                f"'publish' is {raw['publish']!r}, expected 'event', or hours: {{value: 4, unit: hours, reason: …}}"
            )
        if isinstance(raw, dict) and "minutes" in raw:
            raise ValueError(
                "'minutes' are the lengths of windows that end at each event: add 'publish: event', or give 'days'"
            )
        return raw

    @model_validator(mode="after")
    def _ends_at_a_snapshot(self) -> Window:
        if self.delay_span % self.interval:
            hours, interval = self.delay_span // HOUR, self.interval // HOUR
            finer = [str(apart) for apart in (1, 2, 3, 4, 6, 8, 12) if hours % apart == 0]
            raise ValueError(
                f"'delay' is {hours} hours and snapshots are {interval} hours apart, so windows would end between two of them: "
                f"give {hours // interval * interval} or {(hours // interval + 1) * interval} hours, or 'publish' every "
                f"{' or '.join(finer)} hours"
            )
        return self

    @property
    def view(self) -> str:
        """Name of the feature view and of its table in the lake."""
        return f"{self.entity}_{self.column}"

    @property
    def lengths(self) -> list[int]:
        """Lengths in days."""
        return self.days

    def feature(self, aggregate: str, length: int) -> str:
        """Name of one feature, for example `customer_amount_mean_7d`."""
        return f"{self.view}_{aggregate}_{length}d"


LONGEST_AT_EVENTS = 2 * 24 * 60


def _minutes(length: int) -> int:
    if not 1 <= length <= LONGEST_AT_EVENTS:
        raise ValueError(
            f"{length} minutes, expected 1 to {LONGEST_AT_EVENTS}, two days: the scoring service holds the events of that time "
            "in memory; give longer windows as 'days', with snapshots"
        )
    return length


class EventWindow(_Windows):
    """Windows that end at each event, which is not in them: `publish: event`. The scoring service keeps them up to date.

    A window of m minutes at an event of the time t covers its entity's events of [t - m, t): neither the event itself nor
    another one of the same microsecond.

    Attributes:
        column: measure that is added up.
        minutes: lengths of the windows.
        publish: marks windows of this kind.
        digits: decimal places to which values are rounded.
    """

    minutes: Annotated[
        list[Annotated[int, Expected(f"integer, 1 to {LONGEST_AT_EVENTS}"), AfterValidator(_minutes)]], Field(min_length=1)
    ]
    publish: Literal["event"]
    digits: Annotated[int, Field(ge=0, le=12, exclude_if=lambda digits: digits == MILLIONTHS)] = MILLIONTHS

    @model_validator(mode="before")
    @classmethod
    def _is_of_minutes(cls, raw: Any) -> Any:
        for key, instead in (("days", "give 'minutes'"), ("delay", "leave it out")):
            if isinstance(raw, dict) and key in raw:
                raise ValueError(
                    f"{key!r} is for windows with snapshots, and those with 'publish: event' end at each event: {instead}"
                )
        if isinstance(raw, dict) and raw.get("column") == "label":
            raise ValueError("'publish: event' over the label: answers come long after their events; give 'days' and a 'delay'")
        return raw

    @property
    def view(self) -> str:
        """Name under which its features are listed; Feast has no such view."""
        return f"{self.entity}_{self.column}_event"

    @property
    def lengths(self) -> list[int]:
        """Lengths in minutes."""
        return self.minutes

    def feature(self, aggregate: str, length: int) -> str:
        """Name of one feature, for example `customer_amount_count_10min`."""
        return f"{self.entity}_{self.column}_{aggregate}_{length}min"


AnyWindow = Window | EventWindow


def _published(raw: Any) -> str:
    publish = raw.get("publish") if isinstance(raw, dict) else getattr(raw, "publish", None)
    return "<event>" if publish == "event" else "<snapshots>"


# The tags are no keys of the file, so `ml.config.errors` leaves them out.
WindowSection = Annotated[
    Annotated[Window, Tag("<snapshots>")] | Annotated[EventWindow, Tag("<event>")], Discriminator(_published)
]


class RequestFeatures(Section):
    """Features computed from the event itself, the same code for training and for serving.

    Attributes:
        clock: hour, weekday, night and weekend of the event, by `events.timezone`.
        ratios: names of means of windows; each becomes a feature, the event's own measure divided by that mean.
    """

    clock: bool = True
    ratios: list[Identifier] = []


class SimulationFeed(Section):
    """A simulated payment stream; see `ml.simulate.stream`.

    Attributes:
        kind: `simulate`.
        first_day: first day of the stream.
        first_as_of: instant of the first ingest.
        customers: number of customers.
        terminals: number of terminals.
        seed: the same seed gives the same stream.
        format: of the files.
        drift: planted changes, each with `name` and `day`; the other keys are in `ml/simulate/drift.py`.
    """

    kind: Literal["simulate"]
    first_day: dt.date
    first_as_of: Instant
    customers: Annotated[int, Field(ge=1, le=10_000_000)]
    terminals: Annotated[int, Field(ge=1, le=10_000_000)]
    seed: int
    format: Literal["parquet", "csv"] = "parquet"
    drift: list[dict[str, Any]] = []


class ReplayFeed(Section):
    """A file of past events, written to the landing folder one day at a time.

    Attributes:
        kind: `replay`.
        first_as_of: instant of the first ingest.
    """

    kind: Literal["replay"]
    first_as_of: Instant
