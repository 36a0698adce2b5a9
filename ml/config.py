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
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

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
Minutes = Annotated[Threshold, _in("minutes", 0.01, 24 * 60)]
Trials = Annotated[Threshold, _in("trials", 1, 100_000)]
Folds = Annotated[Threshold, _in("folds", 2, 50)]
Hours = Annotated[Threshold, _in("hours", 0, 24 * 365)]
Share = Annotated[Threshold, _in("share", 0, 1)]
Cap = Annotated[Threshold, _in("share", 1e-6, 1)]
Sample = Annotated[Threshold, _in("share", 0.001, 1)]
Ratio = Annotated[Threshold, _in("ratio", 0, 1000)]
Rows = Annotated[Threshold, _in("rows", 1)]
PerDay = Annotated[Threshold, _in("per day", 1)]
AveragePrecision = Annotated[Threshold, _in("average precision", 0, 1)]
Area = Annotated[Threshold, _in("area", 0, 0.5)]
ShareOfPositives = Annotated[Threshold, _in("share of the positives", 0, 10)]
Milliseconds = Annotated[Threshold, _in("milliseconds", 0, 60_000)]
Megabytes = Annotated[Threshold, _in("megabytes", 0, 10_000)]
Clusters = Annotated[Threshold, _in("clusters", 30)]
Promotions = Annotated[Threshold, _in("promotions", 1, 1000)]
Money = Annotated[Threshold, _in("money")]
MoneyPerDay = Annotated[Threshold, _in("money per day")]
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
    """CatBoost's settings and the weights of its rows; all that a search may vary.

    Threads and seed are pinned because another number of threads is another model. Trees are symmetric, CatBoost exports no
    others to ONNX.

    Attributes:
        subsample, rsm: shares of the rows and of the inputs that a tree and a split may look at.
        random_strength: noise on the scores of splits, against overfitting; 0 is none.
        positive_weight: what a positive counts against a negative.
        half_life: days after which a training row counts half; null for never.
    """

    iterations: Annotated[int, Field(ge=1, le=20000)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    depth: Annotated[int, Field(ge=1, le=12)]
    l2_leaf_reg: Annotated[float, Field(ge=0)] = 3.0
    subsample: Annotated[float, Field(gt=0, le=1)] = 0.8
    rsm: Annotated[float, Field(gt=0, le=1)] = 1.0
    random_strength: Annotated[float, Field(ge=0)] = 1.0
    positive_weight: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    half_life: Annotated[float, Field(ge=7)] | None = None
    random_seed: int = 0
    thread_count: Annotated[int, Field(ge=1, le=64)] = 2
    early_stopping_rounds: Annotated[int, Field(ge=1)] = 50


# A search over the seed finds luck, and one over the threads finds a machine.
PINNED = {"random_seed", "thread_count"}


class Range(Section):
    """Values of a searched setting, whole where the setting is, both ends included; `log` searches its magnitude."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_one(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g}, expected less than high, which is {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}, expected more than 0 where log is true")
        return self


class Choices(Section):
    """Values of a searched setting, one by one; null may be among them where the setting may be null."""

    choices: Annotated[list[bool | int | float | str | None], Field(min_length=2)]


def _kind(searched: Any) -> str:
    return "choices" if isinstance(searched, Choices) or (isinstance(searched, dict) and "choices" in searched) else "range"


Searched = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_kind)]


class Tuning(Section):
    """The search for settings of `model`, worker beside worker, on folds within the training and validation windows.

    `space` names the settings that are searched; all others stay as they are. A fold is fitted on all positives and on a
    `negatives` share of the negatives, and evaluated on all rows of its `evaluation` days.
    """

    budget: Minutes
    workers: Annotated[int, Field(ge=1, le=64)]
    trials: Trials
    folds: Folds
    evaluation: Days
    negatives: Sample
    space: Annotated[dict[str, Searched], Field(min_length=1)]

    def wrong_for(self, model: Model) -> list[str]:
        """What is wrong with the space, by setting: its values and the deployment's own must be ones that `model` may have."""
        found = []
        own = model.model_dump()
        for name, searched in self.space.items():
            if name in PINNED or name not in own:
                free = sorted(set(own) - PINNED)
                found.append(f"tuning.space: {name!r} cannot be searched; settings of the model that can: {free}")
                continue
            values = searched.choices if isinstance(searched, Choices) else [searched.low, searched.high]
            for value in values:
                try:
                    read = getattr(type(model).model_validate(own | {name: value}), name)
                except ValidationError as error:
                    found.append(f"tuning.space.{name}: {value!r}: {error.errors()[0]['msg']}")
                    continue
                if isinstance(searched, Range) and type(read) not in (int, float):
                    found.append(f"tuning.space.{name}: {value!r} is no number of this setting; give 'choices'")
            within = own[name] in values if isinstance(searched, Choices) else _between(values[0], own[name], values[1])
            if not within:
                found.append(f"tuning.space.{name}: the model's own {own[name]!r} is not in it; the search starts from there")
        return found


def _between(low: Any, value: Any, high: Any) -> bool:
    return isinstance(value, int | float) and low <= value <= high


class Training(Section):
    """How a training set is cut, which checks it must pass, and what any one entity may weigh in the fit.

    Attributes:
        caps: by entity, the largest share of the positives' weight, and of the negatives', that one of them may carry.
    """

    train: Days
    validation: Days
    holdout: Days
    max_staleness: Days
    alerts: PerDay
    parity: Probability
    caps: dict[Identifier, Cap] = {}
    suite: str = "expectations/training_set.yaml"
    model: Model
    tuning: Tuning | None = None

    @model_validator(mode="after")
    def _searches_what_exists(self) -> Training:
        if self.tuning is not None and (wrong := self.tuning.wrong_for(self.model)):
            raise ValueError("; ".join(wrong))
        return self


class Costs(Section):
    """What decisions cost: a positive that is not alerted its `amount` and `missed` on top, an alert what people cost."""

    amount: Identifier
    missed: Money
    alert: Money
    false_alert: Money


class Guardrails(Section):
    """How much worse than the champion the challenger may be, and what serving it may take."""

    roc_auc: Area
    card_precision: Share
    calibration: ShareOfPositives
    expected_cost: MoneyPerDay | None = None
    latency: Milliseconds
    size: Megabytes


class SliceBy(Section):
    """What the holdout is cut by: a category or attribute, or bands of a number between `edges`.

    Besides the events' columns there is `<cluster>_age`, the days since the cluster's first event, for example `customer_age`.
    Where a band is empty nothing is promoted, unless the cut is not `required`.
    """

    column: Identifier
    edges: list[float] = []
    name: str = ""
    required: bool = True

    @property
    def named(self) -> str:
        """Name of the cut."""
        return self.name or self.column

    @model_validator(mode="after")
    def _rising(self) -> SliceBy:
        if self.edges != sorted(set(self.edges)):
            raise ValueError(f"edges {self.edges} must rise")
        return self


class Slices(Section):
    """Parts of the holdout in which evidence of harm vetoes, each with at least so many clusters that hold a positive."""

    harm: AveragePrecision
    clusters: Clusters
    by: list[SliceBy]


class Fairness(Section):
    """Protected attributes: reported always, a guardrail where a gap is given."""

    attributes: list[Identifier]
    gap: Share | None = None


class Golden(Section):
    """A share of all events that no model is ever fitted on; frozen, it is judged every time."""

    share: Share
    drop: AveragePrecision

    @model_validator(mode="after")
    def _some(self) -> Golden:
        if not 0 < self.share.value <= 0.2:
            raise ValueError(f"share is {self.share.value:g}, expected more than 0 and at most 0.2: the rest is learned from")
        return self


class Ancestor(Section):
    """The champion of some promotions ago: many small losses, each below notice, add up."""

    promotions: Promotions
    drop: AveragePrecision


class Aged(Section):
    """Alpha against a champion that has not been replaced for so many days: the world has moved on, it likely lags behind."""

    after: Days
    alpha: Probability


class Gate(Section):
    """The champion/challenger decision; there is no key that turns it off.

    `alpha` holds for every trigger; `relaxed` may name another one for a confirmed loss of performance or drift, and `aged` one
    for an old champion. So many days of the holdout as `fresh` says must be new to every decision.
    """

    cluster: Identifier
    metric: Literal["average precision", "expected cost"] = "average precision"
    alpha: Probability
    relaxed: dict[str, Probability] = {}
    aged: Aged | None = None
    worthwhile_gain: Threshold
    fresh: Days
    guardrails: Guardrails
    slices: Slices
    fairness: Fairness | None = None
    golden: Golden | None = None
    ancestor: Ancestor | None = None
    replicates: Annotated[int, Field(ge=200, le=100_000)] = 1000
    seed: int = 0

    @model_validator(mode="after")
    def _strict(self) -> Gate:
        unknown = set(self.relaxed) - {"performance", "drift"}
        if unknown:
            raise ValueError(f"relaxed names {sorted(unknown)}, only a confirmed 'performance' or 'drift' may relax alpha")
        aged = {"aged": self.aged.alpha} if self.aged else {}
        for name, alpha in {"alpha": self.alpha, **self.relaxed, **aged}.items():
            if alpha.value > 0.2:
                raise ValueError(f"{name} is {alpha.value:g}, more than 0.2 would promote worse models by chance")
        unit = "average precision" if self.metric == "average precision" else "money per day"
        if self.worthwhile_gain.unit != unit:
            raise ValueError(f"worthwhile_gain has the unit {self.worthwhile_gain.unit!r}, expected {unit!r} of the metric")
        if self.worthwhile_gain.value < 0 or (unit == "average precision" and self.worthwhile_gain.value > 1):
            raise ValueError(f"worthwhile_gain is {self.worthwhile_gain.value:g} {unit}, expected a gain")
        if self.fresh.value < 1 or self.fresh.value != int(self.fresh.value):
            raise ValueError(f"fresh is {self.fresh.value:g} days, expected whole days, at least 1")
        return self

    def alpha_of(self, trigger: str, champion_age: dt.timedelta) -> float:
        """Probability of promoting an equal challenger: by what started the run, and by how long the champion has been one."""
        told = [self.relaxed.get(trigger, self.alpha).value]
        if self.aged and champion_age >= dt.timedelta(days=self.aged.after.value):
            told.append(self.aged.alpha.value)
        return max(told)


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

    `categories` and numbers are what a model may learn from; `attributes` are text that it never sees, for slices and fairness.
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
    attributes: list[Identifier] = []
    costs: Costs | None = None
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
        wrong += [
            f"training.caps.{e}: not one of entities {sorted(self.entities)}"
            for e in self.training.caps
            if e not in self.entities
        ]
        wrong += [f"attributes: {a!r} is not in events.columns" for a in self.attributes if a not in columns]
        wrong += [f"attributes: {a!r} is a category too" for a in self.attributes if a in self.categories]
        if self.gate.cluster not in self.entities:
            wrong.append(f"gate.cluster: {self.gate.cluster!r} is not one of entities {sorted(self.entities)}")
        wrong += self._wrong_in_gate()
        for i, window in enumerate(self.windows):
            if window.entity not in self.entities:
                wrong.append(f"windows.{i}.entity: {window.entity!r} is not one of entities {sorted(self.entities)}")
            if window.column not in {*self.measures, "label"}:
                wrong.append(f"windows.{i}.column: {window.column!r} is not 'label' or one of {self.measures}")
            if window.column == "label" and window.delay < self.labels.delay.value:
                wrong.append(f"windows.{i}.delay: {window.delay} days, below labels.delay: most answers are not in yet")
        if (tuning := self.training.tuning) is not None:
            reach = tuning.folds.value * tuning.evaluation.value + self.labels.delay.value
            if self.training.train.value <= reach:
                wrong.append(
                    f"training.tuning: folds * evaluation + labels.delay is {reach:g} days, which leaves nothing of "
                    f"training.train ({self.training.train.value:g} days) to fit the oldest fold on"
                )
        views = [window.view for window in self.windows]
        wrong += [f"windows: {v!r} is declared twice; list all its days in one line" for v in set(views) if views.count(v) > 1]
        means = {w.feature("mean", d): w for w in self.windows for d in w.days if "mean" in w.aggregates}
        for name in self.request.ratios:
            if name not in means or means[name].column == "label":
                wrong.append(f"request.ratios: {name!r} is not a mean of a measure; declared: {sorted(means)}")
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
        names = [by.named for by in gate.slices.by]
        wrong += [f"gate.slices.by: two cuts are named {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
        if gate.fairness is not None:
            wrong += [f"gate.fairness: {a!r} is not one of {sorted(texts)}" for a in gate.fairness.attributes if a not in texts]
        return wrong

    @property
    def age(self) -> str:
        """Column of a training set: days from the first event of an event's cluster to the event."""
        return f"{self.gate.cluster}_age"

    @property
    def measures(self) -> list[str]:
        """Numeric columns of an event: all that is neither its id, its time, an entity's key, a category nor an attribute."""
        other = {*EVENT_COLUMNS, *self.entities.values(), *self.categories, *self.attributes}
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
