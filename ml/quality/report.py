"""What became of landing files, in numbers and in words for the person on call."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FileReport:
    """What became of one file; rows = accepted + quarantined + rejected, always.

    `stopped` lists the problems of a file that failed as a whole, `reasons` counts why rows were set aside, and `positives`
    those of them whose label is known to be 1.
    """

    file: str
    batch_id: str
    kind: str
    rows: int
    accepted: int = 0
    quarantined: int = 0
    rejected: int = 0
    stopped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)
    positives: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        out = self.accepted + self.quarantined + self.rejected
        if self.rows != out:
            raise AssertionError(f"{self.file}: {self.rows} rows came in, {out} are accounted for")


def note(told: list[FileReport], passed_over: list[str]) -> str:
    """The page that stands on the ingest run: totals, the commonest reasons, warnings, and each stopped file.

    Args:
        passed_over: what lies in the landing folder and is not read, a sentence each.
    """
    rows, accepted, quarantined, rejected = (
        sum(getattr(report, count) for report in told) for count in ("rows", "accepted", "quarantined", "rejected")
    )
    reasons: Counter[str] = Counter()
    positives: Counter[str] = Counter()
    for report in told:
        reasons.update(report.reasons)
        positives.update(report.positives)
    lines = [
        f"{len(told)} files, {rows:,} rows = {accepted:,} accepted + {quarantined:,} quarantined + {rejected:,} rejected",
        *[f"- {count:,} × {reason}{_of_them(positives[reason])}" for reason, count in reasons.most_common(10)],
        *[f"- warning, {report.file}: {warning}" for report in told for warning in report.warnings][:10],
        *[f"- warning, {sentence}" for sentence in passed_over[:10]],
        *([f"- warning, {len(passed_over) - 10} more are not read"] if len(passed_over) > 10 else []),
        *[f"- STOPPED {line}" for line in stopped(told)],
    ]
    return "\n".join(map(printable, lines))


def _of_them(positives: int) -> str:
    """What is lost for good when all that has one fault is set aside: often it is just the positives."""
    return f", {positives:,} of them with the label 1" if positives else ""


def stopped(told: list[FileReport]) -> list[str]:
    """Each problem of each file that was stopped as a whole."""
    return [printable(f"{report.file}: {problem}") for report in told for problem in report.stopped]


def fault_of(report: FileReport) -> str:
    """Hash of what a file was stopped for: the same content with the same faults has the same, whatever else has landed since.

    The values observed and the bounds that follow from other files are left out, and so is the last line, the advice.
    """
    faults = [re.sub(r"_value [^,)]*", "_value", reason_of(problem)) for problem in report.stopped[:-1]]
    return hashlib.sha256("\n".join([report.batch_id, *faults]).encode()).hexdigest()


def printable(text: str) -> str:
    """The text in one line, with everything escaped that moves a cursor, changes colours or hides."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def reason_of(told: str) -> str:
    """A reason without the value that was observed, so that equal faults are counted together."""
    return told.split(", observed")[0]
