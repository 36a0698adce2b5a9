"""How each champion came to answer all requests: at once, or in steps."""

from __future__ import annotations

from ml.config import Config
from ml.decision.release import share_of
from ml.ledger.ledger import Ledger


def released(config: Config) -> list[str]:
    """A sentence for each version that was given requests to answer, oldest first."""
    ledger = Ledger(config.ledger)
    courses = {course.release.version: course for course in ledger.releases.all(config.name)}
    moves = ledger.moves.history(config.name)
    said = []
    for move in moves:
        if move.action == "rollback":
            how = f"back in place of version {move.from_version}, by {move.actor}"
        elif move.to_version in courses:
            how = f"after steps that began {courses[move.to_version].release.as_of:%Y-%m-%d %H:%M}"
        else:
            how = "at once" + ("" if move.from_version else ", for there was no champion to compare it with on live traffic")
        said.append(f"version {move.to_version} answers all requests since {move.as_of:%Y-%m-%d %H:%M}, {how}")
    said += [
        f"version {version} is being released: it answers {share_of(course):g} % of the requests"
        for version, course in courses.items()
        if course.is_open
    ]
    return said
