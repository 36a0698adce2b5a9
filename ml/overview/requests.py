"""Who asked for a training, how each request was answered, and when the next decision can learn something new."""

from __future__ import annotations

from dataclasses import dataclass

from ml.config import Config
from ml.ledger.requests import Recorded
from ml.overview.decisions import Judged, decisions
from ml.overview.past import past
from ml.overview.status import NextDecision, RefusedNights, status


@dataclass(frozen=True)
class Asked:
    """A request with its answers, and the verdict that the run came to which serves it; None for what there is not yet."""

    request: Recorded
    verdict: Judged | None


@dataclass(frozen=True)
class RequestsStory:
    """Requests, the newest first; when the next decision can fall; and nights in a row without a training."""

    requests: tuple[Asked, ...]
    next_decision: NextDecision | None
    refused: RefusedNights | None

    @property
    def open(self) -> int:
        """Number of requests that no answer has closed."""
        return sum(asked.request.is_open for asked in self.requests)


def requests(config: Config) -> RequestsStory:
    """The requests of a deployment until now."""
    verdicts = {verdict.run_id: verdict for verdict in decisions(config)}
    recorded = past(config).ledger.requests.all(config.name)
    seen = status(config, whole=False)
    return RequestsStory(
        requests=tuple(Asked(each, verdicts.get(each.last.run_id) if each.last else None) for each in reversed(recorded)),
        next_decision=seen.next_decision,
        refused=seen.refused,
    )
