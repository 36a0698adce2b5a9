"""One YAML file describes a deployment; it is checked on load and every error names its key.

A threshold is never a bare number: it has a unit, which must be the one that the code reads it in, and a reason, which is
what the person on call reads before moving it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from functools import cache
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

PROJECT = Path(__file__).resolve().parent.parent

EVENT_COLUMNS = ("event_id", "event_time")
RESERVED = {"known_at", "batch_id", "label", "split", "event_timestamp", "created_timestamp"}


class ConfigError(ValueError):
    """The deployment file cannot be used; the message lists each key with what is wrong and what was expected."""


def _identifier(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ValueError(f"{name!r} must be lower-case letters, digits and underscores, starting with a letter")
    return name


def _utc(instant: dt.datetime) -> dt.datetime:
    return instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant.astimezone(dt.UTC)


Identifier = Annotated[str, AfterValidator(_identifier)]
Instant = Annotated[dt.datetime, AfterValidator(_utc)]


class Section(BaseModel):
    """Base of every section: frozen, and a key that nobody reads is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Threshold(Section):
    """A number that decides something, with its unit and the reason why it is what it is."""

    value: float
    unit: str
    reason: str = Field(min_length=8)


def _in(unit: str, minimum: float = 0.0, maximum: float = float("inf")) -> Any:
    def check(threshold: Threshold) -> Threshold:
        if threshold.unit != unit:
            raise ValueError(f"unit is {threshold.unit!r}, expected {unit!r}")
        if not minimum <= threshold.value <= maximum:
            raise ValueError(f"value is {threshold.value:g} {unit}, expected {minimum:g} to {maximum:g}")
        return threshold

    return AfterValidator(check)


Days = Annotated[Threshold, _in("days", 0, 3650)]
Hours = Annotated[Threshold, _in("hours", 0, 24 * 365)]
Share = Annotated[Threshold, _in("share", 0, 1)]
Ratio = Annotated[Threshold, _in("ratio", 0, 1000)]
Rows = Annotated[Threshold, _in("rows", 1)]
PerDay = Annotated[Threshold, _in("per day", 1)]
AveragePrecision = Annotated[Threshold, _in("average precision", 0, 1)]
Probability = Annotated[Threshold, _in("probability", 1e-9, 1)]


class Events(Section):
    """The stream that is scored. `columns` maps our names to the feed's."""

    files: str
    columns: dict[Identifier, str]
    timezone: str = "UTC"
    suite: str
    lag: Hours
    volume_low: Ratio
    volume_high: Ratio
    unreadable: Share
    oldest: Days


class Labels(Section):
    """Where answers come from: files of their own, or a column of the events that is known `delay` days later."""

    files: str | None = None
    columns: dict[Identifier, str] = {}
    column: str | None = None
    suite: str | None = None
    delay: Days
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
        return self


class Window(Section):
    """Trailing windows of one entity over one column: one line of the deployment file, one feature view."""

    entity: Identifier
    column: Identifier
    aggregates: list[Literal["count", "sum", "mean"]]
    days: list[Annotated[int, Field(ge=1, le=366)]]
    delay: Annotated[int, Field(ge=0, le=366)] = 0

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


class Model(Section):
    """CatBoost's settings; threads and seed are pinned because another number of threads is another model."""

    iterations: Annotated[int, Field(ge=1, le=20000)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    depth: Annotated[int, Field(ge=1, le=12)]
    l2_leaf_reg: Annotated[float, Field(ge=0)] = 3.0
    subsample: Annotated[float, Field(gt=0, le=1)] = 0.8
    random_seed: int = 0
    thread_count: Annotated[int, Field(ge=1, le=64)] = 2
    early_stopping_rounds: Annotated[int, Field(ge=1)] = 50


class Training(Section):
    """How a training set is cut and which checks it must pass."""

    train: Days
    validation: Days
    holdout: Days
    max_staleness: Days
    alerts: PerDay
    parity: Probability
    suite: str = "expectations/training_set.yaml"
    model: Model


class Gate(Section):
    """The champion/challenger decision; there is no key that turns it off."""

    cluster: Identifier
    alpha: Probability
    worthwhile_gain: AveragePrecision
    replicates: Annotated[int, Field(ge=200, le=100_000)] = 1000
    seed: int = 0

    @model_validator(mode="after")
    def _strict(self) -> Gate:
        if self.alpha.value > 0.2:
            raise ValueError(f"alpha is {self.alpha.value:g}, more than 0.2 would promote worse models by chance")
        return self


class Risk(Section):
    """Something that can go wrong with the model in use, and what is done about it."""

    risk: str = Field(min_length=8)
    probability: Literal["low", "medium", "high"]
    impact: Literal["low", "medium", "high"]
    mitigation: str = Field(min_length=8)


class Card(Section):
    """What only people know of a model; its card says of each part that is left out that it is missing."""

    purpose: str | None = None
    limits: list[str] = []
    owner: str | None = None
    contact: str | None = None
    risks: list[Risk] = []


class Schedule(Section):
    """Cron expressions in UTC; null where nothing runs by the clock."""

    ingest: str | None
    train: str


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


class Config(Section):
    """A deployment. Read it with `load`.

    What is ingested at an `as_of` up to `archive_until` is the archive: its rows count as known when the live feed would have
    brought them. What is ingested later is known from its own `as_of` on.
    """

    name: Identifier
    description: str
    home: Path
    archive_until: Instant
    events: Events
    labels: Labels
    entities: dict[Identifier, Identifier]
    categories: list[Identifier] = []
    windows: list[Window]
    request: RequestFeatures = RequestFeatures()
    training: Training
    gate: Gate
    schedule: Schedule
    card: Card = Card()
    feed: Annotated[Simulation | Replay, Field(discriminator="kind")] | None = None
    lake_folder: Path | None = None
    ledger_uri: str | None = None
    mlflow_uri: str | None = None

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Config:
        columns = set(self.events.columns)
        wrong = []
        wrong += [f"events.columns: {name} is missing" for name in EVENT_COLUMNS if name not in columns]
        wrong += [f"events.columns.{name}: the name is reserved" for name in sorted(columns & RESERVED)]
        wrong += [f"entities.{e}: {k!r} is not in events.columns" for e, k in self.entities.items() if k not in columns]
        wrong += [f"categories: {c!r} is not in events.columns" for c in self.categories if c not in columns]
        if self.gate.cluster not in self.entities:
            wrong.append(f"gate.cluster: {self.gate.cluster!r} is not one of entities {sorted(self.entities)}")
        for i, window in enumerate(self.windows):
            if window.entity not in self.entities:
                wrong.append(f"windows.{i}.entity: {window.entity!r} is not one of entities {sorted(self.entities)}")
            if window.column not in {*self.measures, "label"}:
                wrong.append(f"windows.{i}.column: {window.column!r} is not 'label' or one of {self.measures}")
            if window.column == "label" and window.delay < self.labels.delay.value:
                wrong.append(f"windows.{i}.delay: {window.delay} days, below labels.delay: most answers are not in yet")
        views = [window.view for window in self.windows]
        wrong += [f"windows: {v!r} is declared twice; list all its days in one line" for v in set(views) if views.count(v) > 1]
        means = {w.feature("mean", d): w for w in self.windows for d in w.days if "mean" in w.aggregates}
        for name in self.request.ratios:
            if name not in means or means[name].column == "label":
                wrong.append(f"request.ratios: {name!r} is not a mean of a measure; declared: {sorted(means)}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def measures(self) -> list[str]:
        """Numeric columns of an event: all that is neither its id, its time, an entity's key nor a category."""
        other = {*EVENT_COLUMNS, *self.entities.values(), *self.categories}
        return [name for name in self.events.columns if name not in other]

    @property
    def landing(self) -> Path:
        """Folder into which the feed drops its files."""
        return self.home / "landing"

    @property
    def lake(self) -> Path:
        """Folder of the lake's tables."""
        return self.lake_folder or self.home / "lake"

    @property
    def features(self) -> Path:
        """Folder of the published features, one folder a view."""
        return self.home / "features"

    @property
    def label_delay(self) -> dt.timedelta:
        """Age at which an event counts as matured: what nobody has reported by then is taken for a negative."""
        return dt.timedelta(days=self.labels.delay.value)

    @property
    def ledger(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.ledger_uri or f"sqlite:///{self.home}/ledger.db"

    @property
    def tracking(self) -> str:
        """MLflow's tracking and registry URI."""
        return self.mlflow_uri or f"sqlite:///{self.home}/mlflow.db"

    @property
    def described(self) -> str:
        """The deployment as JSON without where its things are stored; `Config.model_validate` with a `home` reads it back."""
        return self.model_dump_json(exclude={"home", "lake_folder", "ledger_uri", "mlflow_uri"}, indent=1)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that changes what a step computes; where things are stored does not."""
        elsewhere = {"home", "lake_folder", "ledger_uri", "mlflow_uri", "description", "schedule", "card", "feed"}
        return hashlib.sha256(self.model_dump_json(exclude=elsewhere).encode()).hexdigest()


def load(path: str | Path) -> Config:
    """Read and check a deployment file.

    Paths in it are relative to the project; `${NAME}` is replaced by the environment variable of that name.

    Raises:
        ConfigError: the file is not there, is not YAML, or a key is missing, unknown or out of range.
    """
    path = Path(path)
    file = path if path.is_absolute() or path.exists() else PROJECT / path
    return _load(file.resolve(), file.stat().st_mtime_ns if file.exists() else 0)


@cache
def _load(path: Path, _modified: int) -> Config:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; a deployment is described by one YAML file, see config/demo.yaml")
    try:
        raw = yaml.safe_load(Template(path.read_text()).substitute(os.environ))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    except KeyError as error:
        raise ConfigError(f"{path}: environment variable {error.args[0]} is not set") from error
    except ValueError as error:
        raise ConfigError(f"{path}: a lone '$'; write '$$' for a dollar sign ({error})") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping of keys at the top, found {type(raw).__name__}")
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {'.'.join(str(p) for p in e['loc']) or '(file)'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{path}: {len(lines)} problem(s)\n" + "\n".join(lines)) from error
    folders = {"home": config.home, "lake_folder": config.lake_folder}
    return config.model_copy(update={name: folder and PROJECT / folder for name, folder in folders.items()})
