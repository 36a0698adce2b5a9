"""Sections on what comes in: events, labels, the windows over them, and a feed that plays them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ml.config.thresholds import Cadence, Days, Delay, Identifier, Instant, Ratio, Section, Share, Threshold

# Texts that mean "missing": in every column, or by column (our names).
Missing = Annotated[list[str] | dict[Identifier, list[str]], Field(exclude_if=lambda missing: not missing)]

DAILY = Threshold(value=24, unit="hours", reason="a snapshot a day, of midnight UTC")
HOUR = dt.timedelta(hours=1)


def _hours(text: str) -> str:
    found = re.fullmatch(r"([1-9][0-9]{0,3}) hours", text)
    if not found or int(found[1]) > 366 * 24:
        raise ValueError(f"{text!r} is neither a number of days, 0 to 366, nor a text such as '30 hours'")
    return text


class Delivered(Section):
    """What comes in files: `columns` maps our names to the feed's.

    An empty field is missing, and so are the values that `missing` says, as text and as what they read as.
    """

    columns: dict[Identifier, str] = {}
    missing: Missing = []

    @model_validator(mode="after")
    def _missing_where(self) -> Delivered:
        named = set(self.missing) if isinstance(self.missing, dict) else set()
        if wrong := sorted(named - {*self.columns, "label"}):
            raise ValueError(f"'missing' names {wrong}, expected columns of {sorted(self.columns)}")
        return self

    def missing_in(self, column: str) -> list[str]:
        """Texts that mean "missing" in a column."""
        return self.missing.get(column, []) if isinstance(self.missing, dict) else self.missing


class Events(Delivered):
    """The stream that is scored. `empty_days` says that there are days without events: a file without rows is then no fault."""

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


class Feed(Section):
    """Label files of one kind. `source` is that of all rows of a file that has no such column."""

    files: str
    source: str | None = None


class Rate(Section):
    """The share of positives that a training window may have; outside of it the labels are taken for broken."""

    low: Share
    high: Share

    @model_validator(mode="after")
    def _is_one(self) -> Rate:
        if not self.low.value < self.high.value:
            raise ValueError(f"low is {self.low.value:g}, expected less than high, which is {self.high.value:g}")
        return self


class Labels(Delivered):
    """Where answers come from: files of their own, or a column of the events that is known `delay` later.

    `sources` ranks who answers: of several answers about an event that of the first source here counts, and of one source
    the newest. `files` is one pattern, or one for each feed; a file that several match belongs to the first of them.

    Attributes:
        complete: every event is answered sooner or later, so that one without an answer is not a negative and is left out.
        late: so many of the answers may come later than `delay` before that is a warning.
        rate: shares of positives that a training may have.
    """

    files: str | Annotated[list[Feed], Field(min_length=1)] | None = None
    column: str | None = None
    suite: str | None = None
    delay: Delay
    complete: bool = False
    late: Share = Threshold(value=0.1, unit="share", reason="of ten positives one counts as negative, which a model bears")
    rate: Rate | None = None
    sources: list[str] = []

    @model_validator(mode="after")
    def _one_way(self) -> Labels:
        if (self.files is None) == (self.column is None):
            raise ValueError("give either 'files' (labels in files of their own) or 'column' (a column of the events)")
        if self.files is not None:
            missing = {"event_id", "label", "reported_at"} - set(self.columns)
            if missing:
                raise ValueError(f"'columns' lacks {sorted(missing)}")
            if self.suite is None:
                raise ValueError("'suite' is needed when labels come in files")
        told = {feed.source for feed in self.feeds if feed.source is not None}
        if told and "source" not in self.columns:
            raise ValueError("'columns' lacks 'source': the column by which rows say who answers, where their files have it")
        if self.sources and told - set(self.sources):
            raise ValueError(f"'files' names sources {sorted(told - set(self.sources))}, expected of 'sources' {self.sources}")
        return self

    @property
    def feeds(self) -> list[Feed]:
        """The kinds of label files, in the order in which a file is matched with them."""
        return [Feed(files=self.files)] if isinstance(self.files, str) else self.files or []


MILLIONTHS = 6


class Window(Section):
    """Trailing windows of one entity over one column: one line of the deployment file, one feature view.

    `publish` says how far apart its snapshots are. A day's is left out where the section is told, as if it were not there.
    Windows end `delay` before a snapshot: a number of days, or a text such as `30 hours`. Values are rounded to so many
    `digits` behind the point and added up exactly, so that a sum does not depend on its order.
    """

    entity: Identifier
    column: Identifier
    aggregates: list[Literal["count", "sum", "mean"]]
    days: list[Annotated[int, Field(ge=1, le=366)]]
    delay: Annotated[int, Field(ge=0, le=366)] | Annotated[str, AfterValidator(_hours)] = 0
    publish: Annotated[Cadence, Field(exclude_if=lambda cadence: cadence.value == DAILY.value)] = DAILY
    digits: Annotated[int, Field(ge=0, le=12, exclude_if=lambda digits: digits == MILLIONTHS)] = MILLIONTHS

    @property
    def every(self) -> dt.timedelta:
        """Time from one snapshot to the next."""
        return self.publish.span

    @property
    def behind(self) -> dt.timedelta:
        """Time from the end of the windows to the snapshot."""
        return dt.timedelta(hours=int(self.delay.split()[0])) if isinstance(self.delay, str) else dt.timedelta(days=self.delay)

    @property
    def behind_told(self) -> str:
        """The same in words."""
        return self.delay if isinstance(self.delay, str) else f"{self.delay} days"

    @model_validator(mode="after")
    def _ends_at_a_snapshot(self) -> Window:
        if self.behind % self.every:
            hours, every = self.behind // HOUR, self.every // HOUR
            finer = [str(apart) for apart in (1, 2, 3, 4, 6, 8, 12) if hours % apart == 0]
            raise ValueError(
                f"'delay' is {hours} hours and snapshots are {every} hours apart, so windows would end between two of them: "
                f"give {hours // every * every} or {(hours // every + 1) * every} hours, or 'publish' every "
                f"{' or '.join(finer)} hours"
            )
        return self

    @property
    def view(self) -> str:
        """Name of the feature view and of its table in the lake."""
        return f"{self.entity}_{self.column}"

    def feature(self, aggregate: str, days: int) -> str:
        """Name of one feature, for example `customer_amount_mean_7d`."""
        return f"{self.view}_{aggregate}_{days}d"

    @property
    def features(self) -> list[str]:
        """Names of all features of the view, in the order of the table's columns."""
        return [self.feature(aggregate, days) for days in self.days for aggregate in self.aggregates]


class RequestFeatures(Section):
    """Features computed from the event itself, the same code for training and for serving."""

    clock: bool = True
    ratios: list[Identifier] = []


class Simulation(Section):
    """A payment stream made here; see `ml.simulate.stream`."""

    kind: Literal["simulate"]
    first_day: dt.date
    first_as_of: Instant
    customers: Annotated[int, Field(ge=1, le=10_000_000)]
    terminals: Annotated[int, Field(ge=1, le=10_000_000)]
    seed: int
    format: Literal["parquet", "csv"] = "parquet"
    drift: list[dict[str, Any]] = []


class Replay(Section):
    """A file of past events, dropped into the landing folder a day at a time."""

    kind: Literal["replay"]
    first_as_of: Instant
