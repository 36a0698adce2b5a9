"""A deployment: one YAML file, validated on load; every error names its key."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import os
from collections import Counter
from functools import cache
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from ml.config import errors, suites
from ml.config.data import Events, EventWindow, Labels, ReplayFeed, RequestFeatures, SimulationFeed, Window, WindowSection
from ml.config.engine import Spark
from ml.config.gate import Costs, Gate
from ml.config.monitoring import Monitoring, Notification, Retraining
from ml.config.names import wrong_names
from ml.config.release import Release
from ml.config.serving import Serving
from ml.config.steps import Pod, StepName, StepSettings
from ml.config.thresholds import Expected, Hours, Identifier, Instant, Section, Threshold, Written
from ml.config.training import TrainingSettings
from ml.errors import Refused

PROJECT = Path(__file__).resolve().parents[2]

DAY = dt.timedelta(days=1)
EVENT_COLUMNS = ("event_id", "event_time")
EXTENDS = "extends"
"""Key of a deployment file that names another one."""
DEPTH = 8
"""Files that extend one another, at most."""


class ConfigError(Refused, ValueError):
    """The deployment file is invalid; the message lists each key with the problem and the expected value."""


class Risk(Section):
    """A risk of using the model, and its mitigation.

    Attributes:
        risk: what may happen.
        probability: how likely it is.
        impact: how much harm it does.
        mitigation: what is done about it.
    """

    risk: str = Field(min_length=8)
    probability: Literal["low", "medium", "high"]
    impact: Literal["low", "medium", "high"]
    mitigation: str = Field(min_length=8)


class CardSettings(Section):
    """Texts of the model card that people write; the card marks each one that is left out as missing.

    Attributes:
        purpose: what the model is for.
        limits: what it must not be used for, or cannot do.
        owner: who is responsible for it.
        contact: where to ask.
        risks: risks of using it.
    """

    purpose: str | None = None
    limits: list[str] = []
    owner: str | None = None
    contact: str | None = None
    risks: list[Risk] = []


class Schedule(Section):
    """When DAGs run: cron expressions in UTC; null for no schedule.

    Attributes:
        ingest: when landing files are taken in.
        train: when a training is asked for.
        monitor: monitoring also runs after each ingest; the schedule finds days without any delivery.
        maintain: when small files of the lake are merged.
        deadline: a run of `ingest` or `train` that has not ended within this time after it was queued is reported.
    """

    ingest: str | None
    train: str
    monitor: str | None = None
    maintain: str | None = "0 12 * * 0"
    deadline: Hours = Threshold(
        value=4, unit="hours", reason="a night's training takes one to two hours, with its retries three"
    )


ObjectUri = Annotated[
    str, Expected("URI: `s3://`, `gs://`, `az://` or `abfs://`"), Field(pattern=r"^(s3|gs|az|abfs)://[^\s@?*\[\]]+$")
]
DatabaseUri = Annotated[
    str, Expected("URL: `postgresql://` or `sqlite://`"), Field(pattern=r"^(postgresql|sqlite)(\+\w+)?://\S+$")
]
RedisUri = Annotated[str, Expected("URI: `redis://` or `rediss://`"), Field(pattern=r"^rediss?://[^\s,]+$")]
STORAGE = {"home", "artifacts", "lake_folder", "lake_uri", "ledger_uri", "mlflow_uri", "feast_uri", "online_uri"}
"""Keys that say where things lie."""


class Config(Section):
    """A deployment: one model with its data.

    Attributes:
        name: name of the registered model, of the DAGs and in the ledger.
        description: what an event is, and what a positive label means.
        home: folder of the deployment's data, relative to the project; the landing folder is `landing` below it.
        archive_until: rows ingested at an `--as-of` up to here are the archive: they count as known at the time when the live
            feed would have delivered them. Later rows are known from their own `--as-of` on.
        events: the events that the model scores.
        labels: where labels come from.
        entities: name of each entity, and its column among `events.columns`.
        categories: columns of text that a model may learn from.
        attributes: columns of text for slices and fairness, which no model ever sees.
        costs: costs of decisions.
        windows: windows over the past, each an entry.
        request: features computed from the event itself.
        training: time windows of a training, models and their settings.
        gate: rules of the comparison with the champion.
        monitoring: alarms and faults of the feed.
        retraining: limits on trainings that drift, lost performance and new data start.
        notifications: who gets which messages.
        schedule: when DAGs run.
        serving: the scoring service.
        release: steps by which a promoted version takes over the traffic; null for at once.
        card: texts of the model card.
        feed: simulation or replay that writes the files of a demo; null for a real feed.
        artifacts: URI of an object store for what steps make, such as `s3://bucket/fraud`, with credentials from the
            environment; null for the folder `home`.
        steps: where a step runs, by its name, unless it is beside Airflow's scheduler.
        engine: Spark, where windows over the past are computed by it; null for DuckDB in the step's own process.
        lake_folder: folder of the lake's tables; null for `lake` below `home`.
        lake_uri: URI of the lake's tables in an object store; null for a folder.
        ledger_uri: SQLAlchemy URL of the ledger, SQLite or PostgreSQL; null for `ledger.db` below `home`.
        mlflow_uri: MLflow's database, or the address of its server, which then keeps the artifacts; null for `mlflow.db` below
            `home`.
        feast_uri: SQLAlchemy URL of Feast's registry; null for `feast/registry.db` below `home`.
        online_uri: the Redis that is the online store, `redis://[user][:password]@host[:port][/db]`, or `rediss://` with TLS;
            null for `feast/online.db` below `home`.
    """

    name: Identifier
    description: Written
    home: Path
    archive_until: Instant
    events: Events
    labels: Labels
    entities: dict[Identifier, Identifier]
    categories: list[Identifier] = []
    attributes: list[Identifier] = []
    costs: Costs | None = None
    windows: list[WindowSection]
    request: RequestFeatures = RequestFeatures()
    training: TrainingSettings
    gate: Gate
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()
    notifications: list[Notification] = [Notification(to="log")]
    schedule: Schedule
    steps: Annotated[dict[StepName, StepSettings], Field(exclude_if=lambda steps: not steps)] = {}
    engine: Annotated[Spark | None, Field(exclude_if=lambda engine: engine is None)] = None
    serving: Serving = Serving()
    release: Annotated[Release | None, Field(exclude_if=lambda release: release is None)] = None
    card: CardSettings = CardSettings()
    feed: Annotated[SimulationFeed | ReplayFeed, Field(discriminator="kind")] | None = None
    artifacts: ObjectUri | None = None
    lake_folder: Path | None = None
    lake_uri: ObjectUri | None = None
    ledger_uri: str | None = None
    mlflow_uri: str | None = None
    feast_uri: DatabaseUri | None = None
    online_uri: RedisUri | None = None

    @model_validator(mode="after")
    def _references_exist(self) -> Config:
        columns = set(self.events.columns)
        wrong = []
        wrong += [f"events.columns: {name} is missing" for name in EVENT_COLUMNS if name not in columns]
        wrong += wrong_names(self.events.columns, self.windows, self.request, self.age)
        wrong += [f"entities.{e}: {k!r} is not in events.columns" for e, k in self.entities.items() if k not in columns]
        wrong += [f"categories: {c!r} is not in events.columns" for c in self.categories if c not in columns]
        wrong += [
            f"training.caps.{e}: not one of entities {sorted(self.entities)}"
            for e in self.training.caps
            if e not in self.entities
        ]
        wrong += [f"attributes: {a!r} is not in events.columns" for a in self.attributes if a not in columns]
        roles = Counter([*EVENT_COLUMNS, *self.entities.values(), *self.categories, *self.attributes])
        wrong += [
            f"entities, categories, attributes: {name!r} is several of these, or several times; a column is one thing: give it "
            f"another name in events.columns too, such as '{name}_too: {self.events.columns.get(name, name)}'"
            for name, times in roles.items()
            if times > 1
        ]
        if self.gate.cluster not in self.entities:
            wrong.append(f"gate.cluster: {self.gate.cluster!r} is not one of entities {sorted(self.entities)}")
        if self.release is not None and self.release.split not in (None, *self.entities):
            wrong.append(f"release.split: {self.release.split!r} is not one of entities {sorted(self.entities)}")
        wrong += self._wrong_in_gate()
        for i, window in enumerate(self.windows):
            if window.entity not in self.entities:
                wrong.append(f"windows.{i}.entity: {window.entity!r} is not one of entities {sorted(self.entities)}")
            if window.column not in {*self.measures, "label"}:
                wrong.append(f"windows.{i}.column: {window.column!r} is not 'label' or one of {self.measures}")
            if (
                isinstance(window, Window)
                and window.column == "label"
                and window.delay_span < self.label_delay
                and not self.labels.complete
            ):
                wrong.append(
                    f"windows.{i}.delay: {window.delay_text}, below labels.delay: events without an answer yet would count as "
                    "negatives; give at least labels.delay, or labels.complete: true if every event is answered"
                )
        if (refit := self.training.refit) is not None and refit.early is not None and self.labels.complete:
            wrong.append(
                "training.refit.early: where every event is answered, a young event without an answer is left out; drop it"
            )
        if (tuning := self.training.tuning) is not None:
            reach = tuning.folds.value * tuning.evaluation.value + math.ceil(self.label_delay / DAY)
            if self.training.train.value <= reach:
                wrong.append(
                    f"training.tuning: folds * evaluation + labels.delay is {reach:g} days, which leaves nothing of "
                    f"training.train ({self.training.train.value:g} days) to fit the oldest fold on"
                )
        channels = [notification.channel for notification in self.notifications]
        wrong += [
            f"notifications: {c!r} is listed twice; list its events in one entry"
            for c in set(channels)
            if channels.count(c) > 1
        ]
        means = {name: window for window in self.windows for name in window.named("mean")}
        for name in self.request.ratios:
            if name not in means or means[name].column == "label":
                wrong.append(f"request.ratios: {name!r} is not a mean of a measure; declared: {sorted(means)}")
        if not (self.windows or self.request.clock or self.measures or self.categories):
            wrong.append(
                "events.columns: neither a measure nor a category, and no window or request feature: nothing to learn from"
            )
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _wrong_in_gate(self) -> list[str]:
        gate, wrong = self.gate, []
        if gate.fresh.value > self.training.holdout.value:
            wrong.append(f"gate.fresh: {gate.fresh.value:g} days, more than training.holdout has")
        if (gate.metric == "expected cost" or gate.guardrails.expected_cost) and self.costs is None:
            wrong.append("costs: missing, but the gate asks for the expected cost")
        if self.costs is not None and self.costs.amount not in self.measures:
            wrong.append(f"costs.amount: {self.costs.amount!r} is not one of {self.measures}")
        texts, numbers = {*self.categories, *self.attributes}, {*self.measures, self.age}
        for by in gate.slices.by:
            if by.column not in texts | numbers:
                wrong.append(f"gate.slices.by: {by.column!r} is not one of {sorted(texts | numbers)}")
            elif (by.column in numbers) != bool(by.edges):
                kind = "a number and needs edges" if by.column in numbers else "text and takes no edges"
                wrong.append(f"gate.slices.by: {by.column!r} is {kind}")
        names = [by.title for by in gate.slices.by]
        wrong += [f"gate.slices.by: two cuts are named {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
        if gate.fairness is not None:
            wrong += [f"gate.fairness: {a!r} is not one of {sorted(texts)}" for a in gate.fairness.attributes if a not in texts]
        return wrong

    @property
    def age(self) -> str:
        """Name of a training set's column: days from the first event of an event's cluster to the event."""
        return f"{self.gate.cluster}_age"

    @property
    def measures(self) -> list[str]:
        """Numeric columns of an event: all except its id, its time, keys of entities, categories and attributes."""
        other = {*EVENT_COLUMNS, *self.entities.values(), *self.categories, *self.attributes}
        return [name for name in self.events.columns if name not in other]

    @property
    def snapshot_windows(self) -> list[Window]:
        """Windows that end at published snapshots."""
        return [window for window in self.windows if isinstance(window, Window)]

    @property
    def event_windows(self) -> list[EventWindow]:
        """Windows that end at each event."""
        return [window for window in self.windows if isinstance(window, EventWindow)]

    @property
    def has_empty_days(self) -> bool:
        """Whether a file without events is no fault; a replay feed writes one for each day without events."""
        return self.events.empty_days or isinstance(self.feed, ReplayFeed)

    @property
    def landing(self) -> Path:
        """Folder into which the feed drops its files."""
        return self.home / "landing"

    @property
    def lake(self) -> Path | str:
        """Folder or URI of the lake's tables."""
        return self.lake_uri or self.lake_folder or self.home / "lake"

    @property
    def features(self) -> Path:
        """Folder of the published features, with one folder per view."""
        return self.home / "features"

    @property
    def label_delay(self) -> dt.timedelta:
        """Age at which an event is matured: without a label by then it counts as a negative."""
        return self.labels.delay.span

    @property
    def ledger(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.ledger_uri or f"sqlite:///{self.home}/ledger.db"

    @property
    def tracking(self) -> str:
        """MLflow's tracking and registry URI."""
        return self.mlflow_uri or f"sqlite:///{self.home}/mlflow.db"

    def pod_of(self, step: str) -> Pod | None:
        """The pod that a step runs in; None if it runs beside the scheduler."""
        return next((settings.pod for name, settings in self.steps.items() if name == step), None)

    @property
    def mlflow_artifacts(self) -> str | None:
        """Folder of MLflow's artifacts; None where a server keeps them."""
        return None if self.tracking.startswith(("http://", "https://")) else f"{self.home}/mlartifacts"

    @property
    def portable_json(self) -> str:
        """The deployment as JSON without what concerns one place: storage locations, engine and notifications.

        `model_validate` with a `home` reads it.
        """
        return self.model_dump_json(exclude={*STORAGE, "notifications", "engine"}, indent=1)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all settings that change what a step computes; storage locations do not."""
        elsewhere = STORAGE | {"description", "schedule", "steps", "engine", "card", "feed"}
        elsewhere |= {"monitoring", "retraining", "notifications", "serving", "release"}
        return hashlib.sha256(self.model_dump_json(exclude=elsewhere).encode()).hexdigest()


def load(path: str | Path) -> Config:
    """Read and check a deployment file.

    Paths in it are relative to the project; `${NAME}` is replaced by the environment variable of that name. With `extends`, the
    sections of another file, named relative to this one, are those that this file lacks.

    Raises:
        ConfigError: the file is not there, is not YAML, or a key is missing, unknown or out of range; or one of
            its suites is invalid.
    """
    path = Path(path)
    file = path if path.is_absolute() or path.exists() else PROJECT / path
    config = _load(file.resolve(), _written(file.resolve()))
    wrong = []
    for suite in (suites.events_suite, suites.labels_suite, suites.training_suite):
        try:
            suite(config)
        except suites.SuiteError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join([f"{path}: its suites cannot be run", *(f"  {problem}" for problem in wrong)]))
    return config


def _written(path: Path) -> tuple[int, ...]:
    """When a file and those that it extends were last changed."""
    times: list[int] = []
    while path.is_file():
        times.append(path.stat().st_mtime_ns)
        extended = _raw(path, times[-1]).get(EXTENDS)
        if extended is None:
            break
        if len(times) > DEPTH:
            raise ConfigError(f"{path}: it extends itself, or a file that does; name the one that has all sections")
        path = (path.parent / str(extended)).resolve()
    return tuple(times)


@cache
def _load(path: Path, _times: tuple[int, ...]) -> Config:
    raw = _whole(path)
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        lines = errors.messages(Config, error)
        raise ConfigError(f"{path}: {len(lines)} problem(s)\n" + "\n".join(f"  {line}" for line in lines)) from error
    folders = {"home": config.home, "lake_folder": config.lake_folder}
    return config.model_copy(update={name: folder and PROJECT / folder for name, folder in folders.items()})


def _whole(path: Path) -> dict[str, Any]:
    """All sections of a file, those that it extends among them."""
    raw = dict(_raw(path, path.stat().st_mtime_ns if path.is_file() else 0))
    extended = raw.pop(EXTENDS, None)
    return raw if extended is None else _whole((path.parent / str(extended)).resolve()) | raw


@cache
def _raw(path: Path, _modified: int) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; a deployment is described by one YAML file, see config/demo.yaml")
    try:
        raw = yaml.safe_load(Template(path.read_text()).substitute(os.environ))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    except KeyError as error:
        raise ConfigError(f"{path}: environment variable {error.args[0]} is not set") from error
    except ValueError as error:
        raise ConfigError(f"{path}: a lone '$'; write '$$' for a dollar sign ({error})") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping of keys at the top, found {type(raw).__name__}")
    return raw
