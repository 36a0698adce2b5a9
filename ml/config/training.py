"""Sections on training: the time windows, the settings of the model, and their tuning."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from ml.config.thresholds import (
    AveragePrecision,
    Cap,
    Correlation,
    Days,
    Folds,
    Identifier,
    Minutes,
    PerDay,
    Positives,
    Probability,
    Sample,
    Section,
    Share,
    ShareAnswered,
    ShareOfPositives,
    Threshold,
    Trials,
)

Candidate = Literal["boosted trees", "few shallow trees", "logistic regression"]
OWN, SHALLOW, LOGISTIC = get_args(Candidate)


class ModelSettings(Section):
    """CatBoost's settings and the weights of rows; tuning may vary them.

    Threads and seed are fixed because another number of threads gives another model. Trees are symmetric, because CatBoost
    exports no others to ONNX.

    Attributes:
        iterations: most trees.
        learning_rate: how much of each tree's correction is taken.
        depth: levels of a tree.
        l2_leaf_reg: shrinks the values of leaves.
        subsample: share of the rows per tree.
        rsm: share of the inputs per split.
        random_strength: noise on the scores of splits, against overfitting; 0 for none.
        positive_weight: weight of a positive relative to a negative.
        half_life: days after which a training row has half its weight; null for no decay.
        random_seed: the same seed gives the same model.
        thread_count: threads of a fit; another number gives another model.
        early_stopping_rounds: the fit ends after so many trees that do not lower the loss on the validation window, and the
            best number of trees is kept; null to keep all trees, where a validation window is too short to choose their number.
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
    early_stopping_rounds: Annotated[int, Field(ge=1)] | None = 50


# The best seed is chance, and the best number of threads depends on the machine.
PINNED = {"random_seed", "thread_count"}


class Range(Section):
    """A range of a tuned setting, of integers for integer settings.

    Attributes:
        low: the smallest value.
        high: the largest value.
        log: samples on a log scale.
    """

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
    """A list of values of a tuned setting.

    Attributes:
        choices: the values; null is allowed if the setting may be null.
    """

    choices: Annotated[list[bool | int | float | str | None], Field(min_length=2)]


def _kind(searched: Any) -> str:
    return "choices" if isinstance(searched, Choices) or (isinstance(searched, dict) and "choices" in searched) else "range"


Searched = Annotated[Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_kind)]


class Tuning(Section):
    """Tuning of the settings of `model` by parallel workers, on folds within the training and validation windows.

    Attributes:
        budget: time that the workers search.
        workers: number of workers, each an Airflow task.
        trials: most trials of a search.
        folds: number of folds.
        evaluation: length of the window that a fold is evaluated on.
        negatives: share of the negatives that a fold is fitted on; it is fitted on all positives and evaluated on all rows.
        space: range or choices by setting of `training.model`; the other settings stay as they are.
    """

    budget: Minutes
    workers: Annotated[int, Field(ge=1, le=64)]
    trials: Trials
    folds: Folds
    evaluation: Days
    negatives: Sample
    space: Annotated[dict[str, Searched], Field(min_length=1)]

    def wrong_for(self, model: ModelSettings) -> list[str]:
        """Problems of the space by setting: its values must be valid for `model`, and it must include the model's own value."""
        problems = []
        defaults = model.model_dump()
        for name, searched in self.space.items():
            if name in PINNED or name not in defaults:
                free = sorted(set(defaults) - PINNED)
                problems.append(f"tuning.space: {name!r} cannot be searched; settings of the model that can: {free}")
                continue
            values = searched.choices if isinstance(searched, Choices) else [searched.low, searched.high]
            for value in values:
                try:
                    parsed = getattr(type(model).model_validate(defaults | {name: value}), name)
                except ValidationError as error:
                    problems.append(f"tuning.space.{name}: {value!r}: {error.errors()[0]['msg']}")
                    continue
                if isinstance(searched, Range) and type(parsed) not in (int, float):
                    problems.append(f"tuning.space.{name}: {value!r} is no number of this setting; give 'choices'")
            covers_default = (
                defaults[name] in values if isinstance(searched, Choices) else _between(values[0], defaults[name], values[1])
            )
            if not covers_default:
                problems.append(
                    f"tuning.space.{name}: the model's own {defaults[name]!r} is not in it; the search starts from there"
                )
        return problems


def _between(low: Any, value: Any, high: Any) -> bool:
    return isinstance(value, int | float) and low <= value <= high


class Refit(Section):
    """What is promoted is a refit: the judged model's recipe, fitted on all events whose labels are known.

    The gate judges a model that was fitted on what lies before the holdout. If it may become champion, the same candidate with
    the same settings and as many trees is fitted on all matured events, the holdout's among them. The refit has to agree with
    the judged model on the holdout and the days since, or it is not promoted. A champion is refreshed in the same way, without
    a promotion by the gate, if the challenger has its recipe and does no harm.

    Attributes:
        refresh: age from which a champion is refreshed, by its last promotion or refresh.
        correlation: least rank correlation of the scores of both.
        overlap: least share of the alerts of one that the other alerts too.
        calibration: largest difference of the mean scores, as a share of the judged model's.
        settings_gain: by how much other settings have to be better than the champion's, on the folds of a search, to be chosen.
        early: least share of the positives that are answered by an age for a refit to learn from rows of that age: the answers
            that are there count for those to come. Without it a refit learns from rows whose label delay has passed.
    """

    refresh: Days
    correlation: Correlation
    overlap: Share
    calibration: ShareOfPositives
    settings_gain: AveragePrecision = Threshold(
        value=0.02,
        unit="average precision",
        reason="the best of many trials is a little better by chance alone; less is no reason to change",
    )
    early: Annotated[ShareAnswered | None, Field(exclude_if=lambda early: early is None)] = None


class TrainingSettings(Section):
    """The time windows of a training set, the checks it must pass, and the largest weight of one entity in the fit.

    Attributes:
        train: length of the window that a model is fitted on.
        validation: length of the window that stops the fit, calibrates it and selects the candidate.
        holdout: length of the window that only the gate sees.
        max_staleness: age of the newest event above which no training starts.
        alerts: alerts that people can look at in a day; the scores' alert threshold follows from it.
        parity: by how much a score of the exported graph may differ from the model's.
        positives: least number of positives in the holdout.
        caps: by entity type, the largest share of the total weight of positives, and of negatives, that one entity may have.
        suite: path of the expectation suite on training sets.
        model: settings of the trees.
        candidates: the models that are fitted; the best one on the validation window becomes the challenger.
        tuning: search for settings; null for none.
        refit: fits what is promoted on all matured events; without it the judged model itself is promoted.
        pool: `disk` quantizes the training rows part by part onto the disk, for a training window that memory does not hold;
            null to hold their numbers in memory. Only trees are fitted so, and nothing is searched or fitted again.
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
    model: ModelSettings
    candidates: Annotated[list[Candidate], Field(min_length=1)] = [OWN, SHALLOW, LOGISTIC]
    tuning: Tuning | None = None
    refit: Annotated[Refit | None, Field(exclude_if=lambda refit: refit is None)] = None
    pool: Annotated[Literal["disk"] | None, Field(exclude_if=lambda pool: pool is None)] = None

    @field_validator("candidates")
    @classmethod
    def _each_once(cls, candidates: list[Candidate]) -> list[Candidate]:
        if twice := sorted({name for name in candidates if candidates.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is given more than once; give each candidate once")
        return candidates

    @model_validator(mode="after")
    def _reads_in_parts_what_can_be(self) -> TrainingSettings:
        whole = {
            f"leave {LOGISTIC!r} out of candidates": LOGISTIC in self.candidates,
            "set tuning to null": self.tuning is not None,
            "leave refit out": self.refit is not None,
        }
        if self.pool and (changes := [change for change, is_needed in whole.items() if is_needed]):
            raise ValueError(f"pool is {self.pool!r}, and these need all training rows in memory: {', '.join(changes)}")
        return self

    @model_validator(mode="after")
    def _searches_what_exists(self) -> TrainingSettings:
        if self.tuning is not None and (wrong := self.tuning.wrong_for(self.model)):
            raise ValueError("; ".join(wrong))
        return self
