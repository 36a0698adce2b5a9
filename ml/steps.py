"""The steps by name: what Airflow's tasks, the command line and a container run is looked up here and nowhere else.

A step is a plain function `(config, as_of, **references) → a small frozen record`. Data travel by reference.
"""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ml.config import PROJECT, Config
from ml.errors import BadInput, NotThere
from ml.ledger.run import Run

STEPS = {
    "validate_batch": "ml.quality.validate",
    "load_batch": "ml.quality.load",
    "publish_features": "ml.features.publish",
    "materialize": "ml.store.feast",
    "request_for_new_data": "ml.decision.request",
    "admit": "ml.decision.admit",
    "build_training_set": "ml.training.dataset",
    "validate_training_set": "ml.training.check",
    "plan_tuning": "ml.training.tune",
    "search": "ml.training.tune",
    "choose_settings": "ml.training.tune",
    "explore": "ml.explanation.exploration",
    "fit": "ml.training.fit",
    "export_graph": "ml.training.export",
    "explain": "ml.explanation.attributions",
    "judge": "ml.decision.judge",
    "refit": "ml.decision.refit",
    "register": "ml.decision.register",
    "promote": "ml.decision.promote",
    "write_card": "ml.explanation.card",
    "profile_champion": "ml.monitoring.reference",
    "load_predictions": "ml.quality.predictions",
    "monitor": "ml.monitoring.monitor",
    "release": "ml.decision.release",
    "maintain": "ml.quality.maintain",
    "score": "ml.serving.batch",
}


RUN = "run"
OF_RUN = {"run_id": "id", "actor": "actor", "trigger": "trigger"}
"""References of each step that takes a run, and the fields of `ml.ledger.run.Run` that they fill."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """What a step takes besides configuration and instant."""

    name: str
    required: bool
    is_flag: bool


@dataclasses.dataclass(frozen=True)
class Description:
    """A step's docstring and references, read from its source so that asking costs no import."""

    text: str
    references: tuple[Reference, ...]
    takes_run: bool


def describe(step: str) -> Description:
    """Docstring and references of a step.

    Raises:
        KeyError: there is no such step.
    """
    if step not in STEPS:
        raise NotThere(f"no step {step!r}; there are {', '.join(STEPS)}")
    source = (PROJECT / STEPS[step].replace(".", "/")).with_suffix(".py").read_text()
    function = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == step)
    arguments = function.args.args[2:]
    first_default = len(arguments) - len(function.args.defaults)
    references = tuple(
        Reference(a.arg, required=i < first_default, is_flag=a.annotation is not None and ast.unparse(a.annotation) == "bool")
        for i, a in enumerate(arguments)
        if a.arg != RUN
    )
    takes_run = any(a.arg == RUN for a in arguments)
    of_run = [Reference(name, required=False, is_flag=False) for name in OF_RUN if takes_run]
    return Description(ast.get_docstring(function) or "", (*references, *of_run), takes_run)


def run(step: str, config: Config, as_of: dt.datetime, references: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Run a step and return its record as plain values.

    Args:
        references: values by name, those of the run among them (`OF_RUN`);
            a flag may come as the text that a template gives it, `True` or `False`.

    Raises:
        ValueError: the instant has no time zone, a reference is missing, or one is given that the step does not take.
    """
    if as_of.tzinfo is None:
        raise BadInput(f"as_of {as_of.isoformat()} has no time zone; write it in UTC, such as 2025-05-02T02:00:00Z")
    description = describe(step)
    takes = {reference.name: reference for reference in description.references}
    given = dict(references or {})
    unknown, lacking = set(given) - set(takes), {name for name, r in takes.items() if r.required} - set(given)
    if unknown or lacking:
        raise BadInput(f"step {step} takes {sorted(takes)}; not known: {sorted(unknown)}, missing: {sorted(lacking)}")
    given |= {name: _flag(name, value) for name, value in given.items() if takes[name].is_flag}
    if description.takes_run:
        of_run = {field: given.pop(name) for name, field in OF_RUN.items() if name in given}
        given[RUN] = Run(**(of_run | ({"trigger": of_run["trigger"] or None} if "trigger" in of_run else {})))
    function: Callable[..., Any] = getattr(import_module(STEPS[step]), step)
    return dataclasses.asdict(function(config, as_of, **given))


def _flag(name: str, value: object) -> bool:
    if str(value) not in ("True", "False"):
        raise BadInput(f"{name} is {value!r}, expected True or False")
    return str(value) == "True"
