"""The step `validate_batch`: every row of every new landing file is accepted, quarantined with its reasons, or rejected.

A file that fails as a whole (it cannot be read, columns are missing, types changed, its volume is off) is stopped: it stays
where it is, none of its rows is taken, and its message names the column, the expectation, what was observed and the command
that mends it. The other files go on.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import checks, landing
from ml.quality.checks import Rows
from ml.quality.landing import LandingFile, Raw
from ml.quality.parse import parse
from ml.quality.report import FileReport, note

Tables = dict[str, list[pa.Table]]


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


def staging(config: Config, staged: str) -> Path:
    """Folder of the staged rows of a validation."""
    return config.home / "staging" / staged


def validate_batch(config: Config, as_of: dt.datetime) -> Validation:
    """Check all landing files that are not in the lake yet and stage what is to be loaded."""
    lake = Lake(config.lake)
    files = landing.find_files(config)
    seen = lake.committed(schema.BATCHES, [f.digest for f in files])
    new = {file.digest: file for file in reversed(files) if file.digest not in seen}
    state = [sorted(new), as_of.isoformat(), config.fingerprint, lake.versions([schema.EVENTS, schema.LABELS])]
    staged = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:24]
    folder = staging(config, staged)
    if not folder.exists():
        _stage(config, as_of, lake, [f for f in files if new.get(f.digest) is f], folder)
    told = [FileReport(**report) for report in json.loads((folder / "reports.json").read_text())]
    return Validation(
        staged=staged,
        files=len(told),
        rows=sum(r.rows for r in told),
        accepted=sum(r.accepted for r in told),
        quarantined=sum(r.quarantined for r in told),
        rejected=sum(r.rejected for r in told),
        stopped=tuple(f"{r.file}: {problem}" for r in told for problem in r.stopped),
        note=note(told),
    )


def _stage(config: Config, as_of: dt.datetime, lake: Lake, files: list[LandingFile], folder: Path) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    reports: dict[str, FileReport] = {}
    tables: Tables = {name: [] for name in (schema.EVENTS, schema.LABELS, schema.QUARANTINE, schema.BATCHES)}
    for kind in ("events", "labels"):
        _stage_kind(config, as_of, lake, [f for f in files if f.kind == kind], kind, tables, reports)
    for name, parts in tables.items():
        if parts:
            pq.write_table(pa.concat_tables(parts), partial / f"{name}.parquet")
    (partial / "reports.json").write_text(json.dumps([asdict(reports[f.digest]) for f in files]))
    partial.rename(folder)


def _stage_kind(
    config: Config,
    as_of: dt.datetime,
    lake: Lake,
    files: list[LandingFile],
    kind: str,
    tables: Tables,
    reports: dict[str, FileReport],
) -> None:
    usual = checks.usual_volume(lake) if kind == "events" else []
    kept, raws, parsed, warnings = [], [], [], []
    for file in files:
        try:
            raw = landing.read(file.path)
        except landing.Unreadable as error:
            reports[file.digest] = _stopped(as_of, file, 0, [str(error)])
            continue
        problems, told = checks.check_file(config, raw, kind, usual)
        if not problems:
            frame, unreadable = parse(raw.table, config, kind)
            problems = checks.check_types(config, unreadable, raw, kind)
        rows = raw.table.num_rows + len(raw.malformed)
        if problems:
            reports[file.digest] = _stopped(as_of, file, rows, problems)
            continue
        usual.append(rows)
        kept.append(file)
        raws.append(raw)
        parsed.append((frame, unreadable))
        warnings.append(told)
    if not kept:
        return
    rows = checks.join(config, kind, kept, raws, parsed)
    checks.check_rows(config, as_of, rows, kind)
    events = schema.events(config)
    if kind == "events":
        checks.find_repeats(lake, events, rows)
    else:
        checks.match_labels(lake, events, tables[schema.EVENTS], rows)
    for number, (file, raw, told) in enumerate(zip(kept, raws, warnings, strict=True)):
        reports[file.digest] = _collect(config, as_of, rows, number, raw, tables, told)


def _stopped(as_of: dt.datetime, file: LandingFile, rows: int, problems: list[str]) -> FileReport:
    mend = (
        f"mend the file or have it sent again, then run `python -m ml ingest --as-of {as_of:%Y-%m-%dT%H:%M:%SZ}`; "
        f"to go on without it, run `python -m ml discard --file '{file.path.name}'`"
    )
    return FileReport(file.path.name, file.digest, file.kind, rows, rejected=rows, stopped=(*problems, mend))


def known_at(config: Config, as_of: dt.datetime, times: pd.Series) -> pd.Series:
    """When rows of these times were known here: an archive by the live feed's cadence, all else from `as_of` on.

    Args:
        times: UTC instants, shape (n_rows,).
    """
    arrival = pd.Timestamp(as_of).as_unit("us")
    if as_of > config.archive_until:
        return pd.Series(arrival, index=times.index)
    daily = times.dt.floor("D") + pd.Timedelta(days=1) + pd.Timedelta(hours=config.events.lag.value)
    return daily.clip(upper=arrival)


def _collect(
    config: Config, as_of: dt.datetime, rows: Rows, number: int, raw: Raw, tables: Tables, warnings: list[str]
) -> FileReport:
    """Sort the rows of one file into the tables and account for each."""
    file = rows.files[number]
    mine = np.flatnonzero(rows.file == number)
    good = mine[rows.good()[mine]]
    aside = [int(position) for position in mine if int(position) in rows.reasons]
    frame = rows.frame.loc[good]
    stamp = pd.Timestamp(as_of).as_unit("us")
    if file.kind == "events":
        frame = frame.assign(known_at=known_at(config, as_of, frame["event_time"]), batch_id=file.digest)
        tables[schema.EVENTS].append(_table(frame, schema.events(config)))
        if config.labels.column is not None:
            told = frame[frame["label"].notna()]
            matured = (told["event_time"] + config.label_delay).astype("datetime64[us, UTC]")
            answered = told.assign(source=None, reported_at=matured, known_at=np.maximum(matured, told["known_at"]))
            tables[schema.LABELS].append(_table(answered, schema.LABELS_SCHEMA))
    else:
        frame = frame.assign(known_at=known_at(config, as_of, frame["reported_at"]), batch_id=file.digest)
        tables[schema.LABELS].append(_table(frame, schema.LABELS_SCHEMA))
    reasons = Counter(reason.split(", observed")[0] for position in aside for reason in rows.reasons[position])
    reasons.update({"a line with the wrong number of fields": len(raw.malformed)} if raw.malformed else {})
    content = raw.table.take(pa.array([position - mine[0] for position in aside], pa.int64())).to_pylist()
    quarantined = [
        {"row": int(rows.number[position]), "reasons": rows.reasons[position], "content": json.dumps(row, default=str)}
        for position, row in zip(aside, content, strict=True)
    ] + [
        {
            "row": line.row,
            "reasons": [f"the line has {line.found} fields, expected {line.expected}"],
            "content": json.dumps({"line": line.text}),
        }
        for line in raw.malformed
    ]
    if quarantined:
        common = {"file": file.path.name, "known_at": stamp, "batch_id": file.digest}
        tables[schema.QUARANTINE].append(pa.Table.from_pylist([q | common for q in quarantined], schema.QUARANTINE_SCHEMA))
    report = FileReport(
        file=file.path.name,
        batch_id=file.digest,
        kind=file.kind,
        rows=raw.table.num_rows + len(raw.malformed),
        accepted=len(good),
        quarantined=len(quarantined),
        rejected=int(rows.rejected[mine].sum()),
        warnings=(*warnings, *rows.warnings.get(number, [])),
        reasons=dict(reasons),
    )
    times = frame["event_time" if file.kind == "events" else "reported_at"]
    told = asdict(report)
    batch = {
        **{name: told[name] for name in schema.BATCHES_SCHEMA.names if name in told},
        "first_event": None if frame.empty else times.min(),
        "last_event": None if frame.empty else times.max(),
        "known_at": stamp,
    }
    tables[schema.BATCHES].append(pa.Table.from_pylist([batch], schema.BATCHES_SCHEMA))
    return report


def _table(frame: pd.DataFrame, columns: pa.Schema) -> pa.Table:
    return pa.Table.from_pandas(frame[columns.names], columns, preserve_index=False)
