"""Sections on how a challenger is made: the windows it learns from, its settings, and the search for better ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from ml.config.thresholds import (
    Cap,
    Days,
    Folds,
    Identifier,
    Minutes,
    PerDay,
    Positives,
    Probability,
    Sample,
    Section,
    Threshold,
    Trials,
)

Candidate = Literal["boosted trees", "few shallow trees", "logistic regression"]
OWN, SHALLOW, LOGISTIC = get_args(Candidate)


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
        positives: so many the holdout must have.
        caps: by entity, the largest share of the positives' weight, and of the negatives', that one of them may carry.
        candidates: what is fitted; the best on the validation window goes before the gate.
    """

    train: Days
    validation: Days
    holdout: Days
    max_staleness: Days
    alerts: PerDay
    parity: Probability
    positives: Positives = Threshold(
        value=30, unit="positives", reason="with fewer no interval on average precision means anything"
    )
    caps: dict[Identifier, Cap] = {}
    suite: str = "expectations/training_set.yaml"
    model: Model
    candidates: Annotated[list[Candidate], Field(min_length=1)] = [OWN, SHALLOW, LOGISTIC]
    tuning: Tuning | None = None

    @field_validator("candidates")
    @classmethod
    def _each_once(cls, told: list[Candidate]) -> list[Candidate]:
        if twice := sorted({name for name in told if told.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is given more than once; give each candidate once")
        return told

    @model_validator(mode="after")
    def _searches_what_exists(self) -> Training:
        if self.tuning is not None and (wrong := self.tuning.wrong_for(self.model)):
            raise ValueError("; ".join(wrong))
        return self
