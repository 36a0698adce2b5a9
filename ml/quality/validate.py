"""The step `validate_batch`: every row of every new landing file is accepted, quarantined with its reasons, or rejected.

A file that fails as a whole (it cannot be read, columns are missing, types changed, its volume is off) is stopped: it stays
where it is, none of its rows is taken, and its message names the column, the expectation, what was observed and the command
that mends it. The other files go on.
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
from ml.quality import accept, checks, content, landing, staging, volume
from ml.quality.arrival import Arrival, arrival
from ml.quality.checks import Rows
from ml.quality.formats import Raw, Unreadable
from ml.quality.landing import LandingFile
from ml.quality.parse import parse
from ml.quality.report import FileReport, fault_of, note, printable, reason_of, stopped
from ml.quality.staging import Record, Tables
from ml.quality.values import Fault


@dataclass(frozen=True)
class Validation:
    """Counts over all new files and the address of what is staged for `load_batch`; `files` is 0 when nothing has landed."""

    staged: str
    files: int
    rows: int
    accepted: int
    quarantined: int
    rejected: int
    stopped: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class _Sound:
    """A file with nothing against it as a whole: as it was delivered, and its rows by our names and types."""

    file: LandingFile
    raw: Raw
    columns: pa.Table
    faults: dict[str, list[Fault]]
    warnings: list[str]


def validate_batch(config: Config, as_of: dt.datetime, run_id: str = "") -> Validation:
    """Check all landing files that are not in the lake yet and stage what is to be loaded; finish a load that was cut off.

    People are told of a file that is stopped, once for what is wrong with it, however often it is tried again.
    """
    lake = Lake(config.lake)
    if staging.is_interrupted(lake):
        with lake.writing():
            staging.finish_interrupted(config, lake)
    staged = stage(config, as_of, lake, landing.find_files(config))
    told = reports(config, staged)
    _tell_stopped(config, as_of, told, run_id)
    return Validation(
        staged=staged,
        files=len(told),
        rows=sum(r.rows for r in told),
        accepted=sum(r.accepted for r in told),
        quarantined=sum(r.quarantined for r in told),
        rejected=sum(r.rejected for r in told),
        stopped=tuple(stopped(told)),
        note=note(told, landing.passed_over(config)),
    )


def _tell_stopped(config: Config, as_of: dt.datetime, told: list[FileReport], run_id: str) -> None:
    for report in told:
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


def reports(config: Config, staged: str) -> list[FileReport]:
    """What became of each file of a validation."""
    return [FileReport(**report) for report in staging.read(config, staged).reports]


def stage(config: Config, as_of: dt.datetime, lake: Lake, files: list[LandingFile]) -> str:
    """Check those of the files that are not in the lake yet and return the address under which their rows are staged."""
    # The state is read first: whatever moves while the rows are judged is then noticed by the load.
    state = staging.state(config, lake)
    seen = lake.committed(schema.BATCHES, [f.digest for f in files])
    new = {file.digest: file for file in reversed(files) if file.digest not in seen}
    staged = staging.address(config, lake, [sorted(new), as_of.isoformat(), asdict(state)])
    with staging.staging(config):
        if not staging.is_staged(config, staged):
            tables: Tables = {name: [] for name in staging.ORDER}
            arrived = arrival(config, lake, as_of)
            told: dict[str, FileReport] = {}
            for kind in ("events", "labels"):
                mine = [f for f in files if new.get(f.digest) is f and f.kind == kind]
                told |= _judge_files(config, as_of, lake, mine, kind, arrived, tables)
            in_order = [told[f.digest] for f in files if new.get(f.digest) is f]
            batches = tuple(report.batch_id for report in in_order if not report.stopped)
            staging.write(config, staged, tables, Record(state, batches, tuple(map(asdict, in_order))))
    return staged


def _judge_files(
    config: Config, as_of: dt.datetime, lake: Lake, files: list[LandingFile], kind: str, arrived: Arrival, tables: Tables
) -> dict[str, FileReport]:
    """Sort the rows of files of one kind into the tables; the report on each file by its digest."""
    reports: dict[str, FileReport] = {}
    sound: list[_Sound] = []
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
        except Exception as error:  # noqa: BLE001 - whatever is odd about one file, the others go on
            problems = [f"reading it failed: {type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"]
        if not problems:
            problems, more = checks.check_file(config, as_of, columns, kind)
            warnings = [*warnings, *more]
        if problems:
            reports[file.digest] = _stopped(as_of, file, rows, problems)
        else:
            sound.append(_Sound(file, raw, columns, faults, warnings))
    if kind == "events":
        sound, unusual = _of_usual_volume(config, as_of, lake, sound)
        reports |= unusual
    if sound:
        joined = checks.join(config, kind, [s.raw for s in sound], [(s.columns, s.faults) for s in sound])
        accept.judge(config, as_of, lake, kind, joined, tables)
        accept.collect(config, kind, joined, arrived, [s.file.digest for s in sound], tables)
        for number, s in enumerate(sound):
            reports[s.file.digest] = _account(arrived.at, joined, number, s.file, s.raw, tables, s.warnings)
    return reports


def _of_usual_volume(
    config: Config, as_of: dt.datetime, lake: Lake, sound: list[_Sound]
) -> tuple[list[_Sound], dict[str, FileReport]]:
    """The files of events whose days have a usual number of rows, and the reports on those that are stopped."""
    kept, reports = [], {}
    found = volume.check_days(config, as_of, lake, [volume.delivery(config, s.columns) for s in sound])
    for s, (problems, warnings) in zip(sound, found, strict=True):
        if problems:
            reports[s.file.digest] = _stopped(as_of, s.file, _rows_of(s.raw), problems)
        else:
            kept.append(replace(s, warnings=[*s.warnings, *warnings]))
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
    known_at: dt.datetime, rows: Rows, number: int, file: LandingFile, raw: Raw, tables: Tables, warnings: list[str]
) -> FileReport:
    """Set the bad rows of one file aside and account for all of them."""
    mine = np.flatnonzero(rows.file == number)
    aside = accept.set_aside(rows, mine)
    delivered = content.pack(raw.table, [position - int(mine[0]) for position in aside])
    quarantined = [
        {"row": int(rows.number[position]), "reasons": rows.reasons[position], "content": told}
        for position, told in zip(aside, delivered, strict=True)
    ] + [{"row": line.row, "reasons": [line.reason], "content": content.pack_line(line.text)} for line in raw.malformed]
    reasons = _reasons(rows, aside)
    reasons.update({"a line with the wrong number of fields": len(raw.malformed)} if raw.malformed else {})
    common = {"file": file.name, "known_at": known_at, "batch_id": file.digest}
    if quarantined:
        tables[schema.QUARANTINE].append(pa.Table.from_pylist([q | common for q in quarantined], schema.QUARANTINE_SCHEMA))
    report = FileReport(
        file=file.name,
        batch_id=file.digest,
        kind=file.kind,
        rows=raw.table.num_rows + len(raw.malformed),
        accepted=int(rows.good()[mine].sum()),
        quarantined=len(quarantined),
        rejected=int(rows.rejected[mine].sum()),
        warnings=(*warnings, *rows.warnings.get(number, [])),
        reasons=dict(reasons),
        positives=dict(_reasons(rows, _positives(rows, aside))),
    )
    first, last = accept.span(rows, file.kind, number)
    told = asdict(report) | common | {"first_event": first, "last_event": last}
    batch = {name: told[name] for name in schema.BATCHES_SCHEMA.names}
    tables[schema.BATCHES].append(pa.Table.from_pylist([batch], schema.BATCHES_SCHEMA))
    return report


def _reasons(rows: Rows, positions: list[int]) -> Counter[str]:
    return Counter(reason_of(reason) for position in positions for reason in rows.reasons[position])


def _positives(rows: Rows, positions: list[int]) -> list[int]:
    """Those of the rows that are known to be positive: by a column of the events, or because they are answers themselves."""
    if "label" not in rows.table.column_names:
        return []
    labels = rows.table["label"].take(pa.array(positions, pa.int64())).to_pylist()
    return [position for position, label in zip(positions, labels, strict=True) if label == 1]
