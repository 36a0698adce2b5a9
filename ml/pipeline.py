"""The processes, each declared once: its steps, their order, and what each step takes of the records before it.

The command line and replay run them, and a test holds the DAGs against them. The order is that of the declaration.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ml import steps
from ml.config import Config

Record = Mapping[str, Any]
RunStep = Callable[[str, Config, dt.datetime, Mapping[str, Any]], Record]


@dataclass(frozen=True)
class Stage:
    """One step of a process.

    Parameters:
        step: its name, see `ml.steps`.
        takes: for each reference, the step and the field of its record that it is, as `step.field`.
        needs: steps that must not be skipped, besides those that it takes something of.
        skip_unless: field of its record; if that is false or zero, what takes something of this stage or needs it is skipped.
        each: a list in an earlier record, as `step.field`: the stage is run for each entry, under the reference `each_as`.
        explains: whether it explains what was decided, so that nothing waits for it.
    """

    step: str
    takes: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    skip_unless: str = ""
    each: str = ""
    each_as: str = ""
    explains: bool = False

    @property
    def after(self) -> set[str]:
        """The steps whose records it takes something of, or that it needs."""
        sources = [*self.takes.values(), *([self.each] if self.each else [])]
        return {source.partition(".")[0] for source in sources} | set(self.needs)


INGEST = (
    Stage("validate_batch", skip_unless="files"),
    Stage("load_batch", {"staged": "validate_batch.staged"}),
    Stage("publish_features"),
    Stage("materialize"),
    Stage("request_for_new_data", {"accepted": "validate_batch.accepted"}, skip_unless="requests"),
)
MONITOR = (Stage("load_predictions"), Stage("monitor", needs=("load_predictions",)))
RELEASE = (Stage("load_predictions"), Stage("release", needs=("load_predictions",)))
MAINTAIN = (Stage("maintain"),)
SCORE = (Stage("score"),)
TUNING = (
    Stage("plan_tuning", {"training_set": "validate_training_set.training_set"}),
    Stage("search", {"study": "plan_tuning.study"}, each="plan_tuning.workers", each_as="worker"),
    Stage("choose_settings", {"study": "plan_tuning.study"}, needs=("search",)),
)


def training(config: Config) -> tuple[Stage, ...]:
    """A training from admission to the champion's alias, and what explains it; with a search and a refit where the deployment
    has them."""
    tuning = TUNING if config.training.tuning else ()
    settings = {"settings": "choose_settings.settings"} if tuning else {}
    refit = (Stage("refit", {"judgement": "judge.judgement"}),) if config.training.refit else ()
    model = "refit.model" if refit else "export_graph.model"
    return (
        Stage("admit", skip_unless="admitted"),
        Stage("build_training_set", needs=("admit",)),
        Stage("explore", {"training_set": "build_training_set.training_set"}, explains=True),
        Stage("validate_training_set", {"training_set": "build_training_set.training_set"}),
        *tuning,
        Stage("fit", {"training_set": "validate_training_set.training_set", **settings}),
        Stage("export_graph", {"model": "fit.model"}),
        Stage("judge", {"model": "export_graph.model"}),
        *refit,
        Stage("explain", {"model": model}, explains=True),
        Stage("register", {"judgement": "judge.judgement", "model": model}),
        Stage("promote", {"judgement": "judge.judgement", "version": "register.version"}),
        Stage("profile_champion", {"version": "promote.version"}, explains=True),
        Stage("write_card", {"version": "promote.version"}, needs=("explain",), explains=True),
    )


def run(
    process: tuple[Stage, ...],
    config: Config,
    as_of: dt.datetime,
    given: Mapping[str, Any] | None = None,
    on_record: Callable[[str, Record], None] = lambda step, record: None,
    explain: bool = True,
    within: Callable[[], AbstractContextManager[None]] = nullcontext,
    run_step: RunStep | None = None,
) -> dict[str, Record]:
    """Run a process to its end; the records of the steps that were not skipped, by step.

    What explains runs after all that decides, so that a decision never waits for it.

    Parameters:
        given: references of the run (see `ml.steps.OF_RUN`), and others that a step takes and no record holds.
        on_record: is called with each record as soon as it is there; of a step that is run several times, with each.
        explain: whether to run what explains.
        within: context in which each step runs.
        run_step: how a step is run; by default `ml.steps.run`.
    """
    given, records, held_back = given or {}, dict[str, Record](), set[str]()
    decides = [stage for stage in process if not stage.explains]
    explains = [stage for stage in process if stage.explains and explain]
    for stage in [*decides, *explains]:
        if not stage.after <= set(records) - held_back:
            continue
        references = _references(stage, records, given)
        entries = _value(records, stage.each) if stage.each else [None]
        for entry in entries:
            more = {stage.each_as: entry} if stage.each else {}
            with within():
                records[stage.step] = (run_step or steps.run)(stage.step, config, as_of, references | more)
            on_record(stage.step, records[stage.step])
        if stage.skip_unless and not records[stage.step][stage.skip_unless]:
            held_back.add(stage.step)
    return records


def _references(stage: Stage, records: Mapping[str, Record], given: Mapping[str, Any]) -> dict[str, Any]:
    names = {reference.name for reference in steps.describe(stage.step).references}
    taken = {reference: _value(records, source) for reference, source in stage.takes.items()}
    return {name: value for name, value in given.items() if name in names} | taken


def _value(records: Mapping[str, Record], source: str) -> Any:
    step, _, name = source.partition(".")
    return records[step][name]
