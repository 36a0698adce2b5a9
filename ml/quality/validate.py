"""The step `validate_batch`: every row of every new landing file is accepted, quarantined with its reasons, or rejected.

A file that fails as a whole (it cannot be read, columns are missing, types changed, its volume is unusual) is stopped: it
stays where it is, none of its rows is accepted, and its message names the column, the expectation, the observed value and the
command to run. The other files go on.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.ledger.ledger import Ledger
from ml.ledger.messages import Message
from ml.ledger.run import BY_HAND, Run
from ml.quality import accept, checks, content, landing, results, staging, volume
from ml.quality.arrival import Arrival, arrival
from ml.quality.checks import PendingRows
from ml.quality.formats import Raw, Unreadable
from ml.quality.landing import LandingFile
from ml.quality.parse import parse
from ml.quality.report import FileReport, fault_of, note, printable, reason_of, stopped
from ml.quality.staging import Record, Tables
from ml.quality.suites import Result
from ml.quality.values import ValueFault


@dataclass(frozen=True)
class Validation:
    """Counts over all new files, and the address of the rows staged for `load_batch`; `files` is 0 when nothing has landed."""

    staged: str
    files: int
    rows: int
    accepted: int
    quarantined: int
    rejected: int
    stopped: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class _ParsedFile:
    """A file that passed the checks of files: as it was delivered, and its typed columns."""

    file: LandingFile
    raw: Raw
    columns: pa.Table
    faults: dict[str, list[ValueFault]]
    warnings: list[str]


def validate_batch(config: Config, as_of: dt.datetime, run: Run = BY_HAND) -> Validation:
    """Check all landing files that are not in the lake yet and stage their rows; first finish a load that was cut off.

    A stopped file posts one message for its faults, however often it is checked again.
    """
    lake = Lake(config.lake)
    if staging.is_interrupted(lake):
        with lake.writing():
            staging.finish_interrupted(config, lake)
    staged = stage(config, as_of, lake, landing.find_files(config))
    reports = file_reports(config, staged)
    _post_messages(config, as_of, reports, run.id)
    return Validation(
        staged=staged,
        files=len(reports),
        rows=sum(r.rows for r in reports),
        accepted=sum(r.accepted for r in reports),
        quarantined=sum(r.quarantined for r in reports),
        rejected=sum(r.rejected for r in reports),
        stopped=tuple(stopped(reports)),
        note=note(reports, landing.ignored_files(config)),
    )


def _post_messages(config: Config, as_of: dt.datetime, reports: list[FileReport], run_id: str) -> None:
    for report in reports:
        if report.stopped:
            first, *more = report.stopped[:-1]
            others = f" ({len(more)} more problems)" if more else ""
            message = Message(
                model=config.name,
                key=f"stopped batch {fault_of(report)}",
                event="stopped batch",
                text=printable(f"{report.file} was stopped: {first}{others}"),
                figure=f"{report.rows:,} rows stay out",
                as_of=as_of,
                process="ingest" if run_id else "",
                run_id=run_id,
            )
            Ledger(config.ledger).messages.post(message)


def file_reports(config: Config, staged: str) -> list[FileReport]:
    """The report on each file of a validation."""
    return [FileReport(**report) for report in staging.read(config, staged).reports]


def stage(config: Config, as_of: dt.datetime, lake: Lake, files: list[LandingFile]) -> str:
    """Check those of the files that are not in the lake yet and return the address under which their rows are staged."""
    # The state is read first, so that the load notices any change made while the rows are checked.
    state = staging.lake_state(config, lake)
    loaded = lake.committed(schema.BATCHES, [f.digest for f in files])
    new = {file.digest: file for file in reversed(files) if file.digest not in loaded}
    staged = staging.address(config, lake, [sorted(new), as_of.isoformat(), asdict(state)])
    if not staging.is_staged(config, staged):
        tables: Tables = {name: [] for name in staging.ORDER}
        arrived = arrival(config, lake, as_of)
        reports: dict[str, FileReport] = {}
        for kind in ("events", "labels"):
            of_kind = [f for f in files if new.get(f.digest) is f and f.kind == kind]
            reports |= _check_files(config, as_of, lake, of_kind, kind, arrived, tables)
        in_order = [reports[f.digest] for f in files if new.get(f.digest) is f]
        batches = tuple(report.batch_id for report in in_order if not report.stopped)
        staging.write(config, staged, tables, Record(state, batches, tuple(map(asdict, in_order))))
    return staged


def _check_files(
    config: Config, as_of: dt.datetime, lake: Lake, files: list[LandingFile], kind: str, arrived: Arrival, tables: Tables
) -> dict[str, FileReport]:
    """Check files of one kind and add their rows to the tables; returns the report on each file by its digest."""
    reports: dict[str, FileReport] = {}
    parsed: list[_ParsedFile] = []
    found: list[Result] = []
    for file in files:
        rows, warnings = 0, list[str]()
        try:
            raw = landing.read(file)
            rows = _rows_of(raw)
            problems, warnings = checks.check_columns(config, raw, kind)
            if not problems:
                columns, faults = parse(raw.table, config, kind)
                problems = checks.check_types(config, faults, raw, kind)
        except Unreadable as error:
            problems = [str(error)]
        except Exception as error:  # noqa: BLE001 - a fault of one file must not stop the others
            problems = [f"reading it failed: {type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"]
        if not problems:
            problems, more = checks.check_file(config, as_of, columns, kind, found)
            warnings = [*warnings, *more]
        if problems:
            reports[file.digest] = _stopped(as_of, file, rows, problems)
        else:
            parsed.append(_ParsedFile(file, raw, columns, faults, warnings))
    if kind == "events":
        parsed, unusual = _check_volume(config, as_of, lake, parsed)
        reports |= unusual
    if parsed:
        joined = checks.join(config, kind, [p.raw for p in parsed], [(p.columns, p.faults) for p in parsed])
        accept.judge(config, as_of, lake, kind, joined, tables)
        accept.collect(config, kind, joined, arrived, [p.file.digest for p in parsed], tables)
        for number, p in enumerate(parsed):
            reports[p.file.digest] = _account(arrived.at, joined, number, p.file, p.raw, tables, p.warnings)
        found += joined.results
    if found:
        results.keep(config, as_of, kind, files[-1].name, found, len(files))
    return reports


def _check_volume(
    config: Config, as_of: dt.datetime, lake: Lake, parsed: list[_ParsedFile]
) -> tuple[list[_ParsedFile], dict[str, FileReport]]:
    """Files of events with a usual number of rows per day, and the reports on the files that are stopped."""
    kept, reports = [], {}
    checked = volume.check_days(config, as_of, lake, [volume.file_days(config, p.columns) for p in parsed])
    for p, (problems, warnings) in zip(parsed, checked, strict=True):
        if problems:
            reports[p.file.digest] = _stopped(as_of, p.file, _rows_of(p.raw), problems)
        else:
            kept.append(replace(p, warnings=[*p.warnings, *warnings]))
    return kept, reports


def _rows_of(raw: Raw) -> int:
    return raw.table.num_rows + len(raw.malformed)


def _stopped(as_of: dt.datetime, file: LandingFile, rows: int, problems: list[str]) -> FileReport:
    quoted = "'" + file.name.replace("'", "'\\''") + "'"
    mend = (
        f"mend the file or have it sent again, then run `python -m ml ingest --as-of {as_of:%Y-%m-%dT%H:%M:%SZ}`; "
        f"to go on without it, run `python -m ml discard --file {quoted}`"
    )
    return FileReport(file.name, file.digest, file.kind, rows, rejected=rows, stopped=(*problems, mend))


def _account(
    known_at: dt.datetime, rows: PendingRows, number: int, file: LandingFile, raw: Raw, tables: Tables, warnings: list[str]
) -> FileReport:
    """Add the bad rows of one file to the quarantine, and report the counts of all its rows."""
    positions = np.flatnonzero(rows.file == number)
    bad = accept.quarantined(rows, positions)
    delivered = content.pack(raw.table, [position - int(positions[0]) for position in bad])
    quarantined = [
        {"row": int(rows.number[position]), "reasons": rows.reasons[position], "content": row}
        for position, row in zip(bad, delivered, strict=True)
    ] + [{"row": line.row, "reasons": [line.reason], "content": content.pack_line(line.text)} for line in raw.malformed]
    reasons = _reasons(rows, bad)
    reasons.update({"a line with the wrong number of fields": len(raw.malformed)} if raw.malformed else {})
    common = {"file": file.name, "known_at": known_at, "batch_id": file.digest}
    if quarantined:
        tables[schema.QUARANTINE].append(pa.Table.from_pylist([q | common for q in quarantined], schema.QUARANTINE_SCHEMA))
    report = FileReport(
        file=file.name,
        batch_id=file.digest,
        kind=file.kind,
        rows=raw.table.num_rows + len(raw.malformed),
        accepted=int(rows.good()[positions].sum()),
        quarantined=len(quarantined),
        rejected=int(rows.rejected[positions].sum()),
        warnings=(*warnings, *rows.warnings.get(number, [])),
        reasons=dict(reasons),
        positives=dict(_reasons(rows, _positives(rows, bad))),
    )
    first, last = accept.span(rows, file.kind, number)
    fields = asdict(report) | common | {"first_event": first, "last_event": last}
    batch = {name: fields[name] for name in schema.BATCHES_SCHEMA.names}
    tables[schema.BATCHES].append(pa.Table.from_pylist([batch], schema.BATCHES_SCHEMA))
    return report


def _reasons(rows: PendingRows, positions: list[int]) -> Counter[str]:
    return Counter(reason_of(reason) for position in positions for reason in rows.reasons[position])


def _positives(rows: PendingRows, positions: list[int]) -> list[int]:
    """Those of the positions whose label is 1, in files that have labels."""
    if "label" not in rows.table.column_names:
        return []
    labels = rows.table["label"].take(pa.array(positions, pa.int64())).to_pylist()
    return [position for position, label in zip(positions, labels, strict=True) if label == 1]
