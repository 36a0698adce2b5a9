"""The step `refit`: what is registered of a judged model, and whether it may become champion."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass

from ml.config import Config
from ml.decision import judgements
from ml.ledger.run import BY_HAND, Run
from ml.training import export
from ml.training import refit as refits
from ml.training.refused import record_refusal
from ml.training.weights import CapUnreachable

AGREEMENT = "agreement.json"


@dataclass(frozen=True)
class RefitResult:
    """Record of the step.

    Attributes:
        model: address of the model to register, the refit or the judged model.
        is_refit: whether it is the refit.
        agreement: figures of the comparison of the refit with the judged model; empty without a refit.
        note: why the judged model is registered although there is a refit; empty otherwise.
    """

    model: str
    is_refit: bool
    agreement: str
    note: str


def refit(config: Config, as_of: dt.datetime, judgement: str, run: Run = BY_HAND) -> RefitResult:
    """Fit a judged model's recipe on all that has matured, if it may become champion; else the judged model is registered.

    A refit that does not agree with the judged model is not registered, and nothing becomes champion.

    Args:
        config: the deployment.
        as_of: the instant of the training.
        judgement: address of the judgement on the model.
        run: the training run; it is recorded with a refusal.

    Raises:
        CapUnreachable: the caps on weights cannot be met by these rows.
        ParityError: the refit's graph answers otherwise than the refit.
    """
    judged = judgements.describe(config, judgement)
    if config.training.refit is None or not (judged.outcome == "PROMOTE" or judged.refresh):
        return RefitResult(judged.model, False, "", "")
    with record_refusal(config, as_of, "refit", run.id, CapUnreachable):
        refitted = refits.refit(config, judged.model)
    export.export_graph(config, as_of, refitted.model, run)
    found = refits.agreement(config, refitted.model)
    _log(config, refitted.mlflow_run, found)
    if found.holds:
        return RefitResult(refitted.model, True, found.sentence, "")
    note = f"The refit does not agree with the judged model, so it is not promoted: {found.sentence}"
    return RefitResult(judged.model, False, found.sentence, note)


def _log(config: Config, run: str, found: refits.Agreement) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=config.tracking).log_dict(run, asdict(found), AGREEMENT)
