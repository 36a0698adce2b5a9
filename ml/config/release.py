"""The section on release: how a version that the gate promotes comes to answer all requests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ml.config.thresholds import Days, Identifier, Milliseconds, Ratio, Section, Share, Threshold

Count = Annotated[int, Field(ge=1, le=100_000_000)]
Percent = Annotated[float, Field(ge=0, le=50)]


class ReleaseStep(Section):
    """A share of the traffic, and what has to be seen at it before the next step.

    Attributes:
        share: percent of the entities that the new version answers; at 0 it scores every event and answers none.
        requests: events that the new version has scored at this step (at a share above 0: answered), at least.
        hours: since the step began, at least.
    """

    share: Percent
    requests: Count = 2000
    hours: Annotated[float, Field(ge=0, le=24 * 90)] = 24.0


class ReleaseGuardrails(Section):
    """Limits beyond which a release steps back; each is tested so that looking often does not raise the error.

    Attributes:
        errors: share of the events that the new version may fail to score.
        latency: a score that takes longer is slow; at most 5 % more of the scores of the new version may be slow than of the
            champion's.
        alerts: alerts of the new version for each alert of the champion, at most; and the inverse, at least.
        early: positives that the new version let pass, by the labels so far, for each that the champion let pass of as many
            events, at most.
        scores: how far the scores, relative to the champion's, may be from what they were on the gate's rows, as a share of
            events that lie on the wrong side.
    """

    errors: Share = Threshold(value=0.002, unit="share", reason="the champion answers in place of the new version meanwhile")
    latency: Milliseconds = Threshold(value=20, unit="milliseconds", reason="a tree ensemble scores a row in less than one")
    alerts: Ratio = Threshold(value=1.5, unit="ratio", reason="analysts can take half as many alerts more for some days")
    early: Ratio = Threshold(
        value=1.25, unit="ratio", reason="a quarter more is for matured labels to find, and a larger loss costs now"
    )
    scores: Share = Threshold(
        value=0.2, unit="share", reason="two fits of one recipe differ by less; inputs that are read wrongly differ by more"
    )


def _steps() -> list[ReleaseStep]:
    return [ReleaseStep(share=share, requests=requests) for share, requests in ((0, 2000), (1, 100), (10, 1000), (50, 5000))]


class Release(Section):
    """A release in steps. Without this section a version that the gate promotes is champion at once.

    Attributes:
        steps: from the first to the last before full traffic. One step at share 0 is a blue/green release.
        split: entity by whose key the traffic is split, so that all events of one key are answered by one version; by default
            the cluster of the gate.
        guardrails: limits beyond which the release ends and the champion answers everything again.
        patience: a release that has not come to an end by then is ended.
        approval: before which share a person has to agree: that of a step, or 100 for full traffic; null for none.
    """

    steps: Annotated[list[ReleaseStep], Field(min_length=1, max_length=20)] = Field(default_factory=_steps)
    split: Identifier | None = None
    guardrails: ReleaseGuardrails = ReleaseGuardrails()
    patience: Days = Threshold(value=28, unit="days", reason="by then the next version is better than what is released")
    approval: Percent | Literal[100] | None = None

    @model_validator(mode="after")
    def _steps_rise(self) -> Release:
        shares = [step.share for step in self.steps]
        if shares != sorted(set(shares)):
            raise ValueError(f"steps: shares are {shares}, expected to rise")
        if self.approval is not None and self.approval not in (*shares[1:], 100):
            raise ValueError(f"approval: {self.approval:g} is the share of no later step; possible: {[*shares[1:], 100]}")
        return self
