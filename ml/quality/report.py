"""Reports on landing files: row counts, and the text for the person on call."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FileReport:
    """The row counts of one file; rows = accepted + quarantined + rejected, always.

    `stopped` lists the problems of a file that failed as a whole, `reasons` counts quarantined rows by reason, and `positives`
    those of them whose label is 1.
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


def note(reports: list[FileReport], ignored: list[str]) -> str:
    """The note of the ingest run: totals, the most frequent reasons, warnings, and each stopped file.

    Args:
        ignored: one sentence for each path in the landing folder that is not read.
    """
    rows, accepted, quarantined, rejected = (
        sum(getattr(report, count) for report in reports) for count in ("rows", "accepted", "quarantined", "rejected")
    )
    reasons: Counter[str] = Counter()
    positives: Counter[str] = Counter()
    for report in reports:
        reasons.update(report.reasons)
        positives.update(report.positives)
    lines = [
        f"{len(reports)} files, {rows:,} rows = {accepted:,} accepted + {quarantined:,} quarantined + {rejected:,} rejected",
        *[f"- {count:,} × {reason}{_of_them(positives[reason])}" for reason, count in reasons.most_common(10)],
        *[f"- warning, {report.file}: {warning}" for report in reports for warning in report.warnings][:10],
        *[f"- warning, {sentence}" for sentence in ignored[:10]],
        *([f"- warning, {len(ignored) - 10} more are not read"] if len(ignored) > 10 else []),
        *[f"- STOPPED {line}" for line in stopped(reports)],
    ]
    return "\n".join(map(printable, lines))


def _of_them(positives: int) -> str:
    """The positives among the rows with one reason: a fault often hits the positives alone, and they are rare."""
    return f", {positives:,} of them with the label 1" if positives else ""


def stopped(reports: list[FileReport]) -> list[str]:
    """Each problem of each file that was stopped as a whole."""
    return [printable(f"{report.file}: {problem}") for report in reports for problem in report.stopped]


def fault_of(report: FileReport) -> str:
    """Hash of a stopped file's content and faults; it does not depend on other files.

    Observed values and the bounds that follow from other files are left out, and so is the last problem, which is advice.
    """
    faults = [re.sub(r"_value [^,)]*", "_value", reason_of(problem)) for problem in report.stopped[:-1]]
    return hashlib.sha256("\n".join([report.batch_id, *faults]).encode()).hexdigest()


def printable(text: str) -> str:
    """The text in one line, with control and invisible characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def reason_of(reason: str) -> str:
    """A reason without its observed value, so that equal faults are counted together."""
    return reason.split(", observed")[0]
