"""What the person on call asks and does: who is champion, how it came to be, one step back, a file out of the way."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ml.commands.command import Command, instant
from ml.commands.terminal import line, say, screen, table, with_deployment
from ml.config import Config
from ml.errors import BadInput
from ml.records import to_record

FAULTS = 3
"""Faults of one kind that the status names, so that it stays within twenty lines."""


def status(config: Config, asked: argparse.Namespace) -> None:
    """Print the champion, its age and the last verdict, when the next can fall, what came in last, and when answers come."""
    from ml.overview.status import status

    seen = status(config)
    if asked.json:
        _say_json(seen)
        return
    if seen.champion:
        age = f"{seen.champion.days} days old, since {seen.champion.since:%Y-%m-%d %H:%M}"
        say(f"champion      version {seen.champion.version}, {age}")
    else:
        say("champion      none yet")
    if last := seen.last_verdict:
        say(
            f"last verdict  {last.outcome} on version {last.challenger_version} as of {last.as_of:%Y-%m-%d %H:%M}: "
            f"{last.reason}"
        )
    _say_what_moves(config)
    if following := seen.next_decision:
        there = f"{following.fresh_days} of {following.needed_days} fresh days are there"
        say(f"next decision on the night of {following.night} at the earliest: {there}")
    if batch := seen.last_batch:
        say(
            f"last batch    {batch.known_at:%Y-%m-%d %H:%M}: {batch.files} files, {batch.rows:,} rows = "
            f"{batch.accepted:,} accepted + {batch.quarantined:,} quarantined + {batch.rejected:,} rejected"
        )
    if seen.answers:
        say(f"answers       {seen.answers.state}: {seen.answers.summary}")
    if refused := seen.refused:
        say(f"refused       {refused.nights} nights without a training since {refused.since:%Y-%m-%d}: {refused.reason}")
    if seen.open_quarantine:
        waiting = f"{seen.open_quarantine:,} rows are open, see `python -m ml quarantine list`"
        say(with_deployment(f"quarantine    {waiting}", asked))
    for sentence in seen.ignored_files[:FAULTS]:
        line(f"landing       {sentence}")
    if len(seen.ignored_files) > FAULTS:
        say(f"landing       {len(seen.ignored_files) - FAULTS} more files are not read")


def _say_what_moves(config: Config) -> None:
    """Print the drift, what is being released, and how many requests wait."""
    from ml.ledger.ledger import Ledger
    from ml.monitoring.words import format_number
    from ml.overview.drift import drift
    from ml.overview.model import under_way

    if (moved := drift(config, days=1)) and moved.days:
        severity = f"severity {format_number(moved.severity, 2)} of {format_number(moved.limit)}"
        say(f"drift         {moved.state or 'not judged'} on {moved.days[-1]}, {severity}")
        for fault in moved.standing[:FAULTS]:
            line(f"feed          {fault}")
    if released := under_way(config):
        say(f"release       version {released.version} answers {released.share:g} % of the requests: {released.last_word}")
    waiting = [request for request in Ledger(config.ledger).requests.all(config.name) if request.is_open]
    if waiting:
        line(f"requests      {len(waiting)} wait, the last one by {waiting[-1].requested_by}: {waiting[-1].reason}")


def answers(config: Config, asked: argparse.Namespace) -> None:
    """Print how long answers take to come, against `labels.delay`, and the delay by which 95 % of them are in."""
    from ml.overview.status import newest_ingest
    from ml.training.arrivals import SHARES, arrivals

    as_of = asked.as_of or newest_ingest(config)
    if as_of is None:
        say("answers       nothing was ingested yet, so there is nothing to measure")
        return
    measured = arrivals(config, as_of)
    if not measured.events:
        say("answers       no event of the training window is in the lake yet, so there is nothing to measure")
        return
    table(
        ["answers", "count", "later than the delay", *(f"{share:.0%} within" for share in SHARES)],
        [
            [name, f"{curve.answers:,}", f"{curve.late:.1%}", *(_span(hours) for hours in curve.hours)]
            for name, curve in (("all", measured.all), ("positive", measured.positive))
        ],
    )
    say(measured.summary)


def _span(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def history(config: Config, asked: argparse.Namespace) -> None:
    """Print every move of the champion, newest first, as many as the screen holds (as JSON oldest first)."""
    from ml.ledger.ledger import Ledger

    moves = Ledger(config.ledger).moves.history(config.name)
    if asked.json:
        _say_json(moves)
        return
    if not moves:
        say("no move yet: there was no champion")
        return
    rows = [
        [
            str(m.sequence),
            f"{m.as_of:%Y-%m-%d %H:%M}",
            f"{m.action}: {m.from_version or 'none'} → {m.to_version}",
            f"{m.actor}, {m.recorded_at:%Y-%m-%d %H:%M}",
            m.reason,
        ]
        for m in reversed(moves)
    ]
    shown = table(["move", "as of", "what", "who, when", "why"], rows, None if asked.all else screen())
    if shown < len(moves):
        say(f"{len(moves) - shown} older moves: --all shows them")


def requests(config: Config, asked: argparse.Namespace) -> None:
    """Print who asked for a training and how each was answered: started, joined to another, waiting, or refused, and why."""
    from ml.ledger.ledger import Ledger

    requests = Ledger(config.ledger).requests.all(config.name)
    if asked.json:
        _say_json(requests)
        return
    rows = []
    for request in requests:
        last = request.last
        asked_for = f"{request.as_of:%Y-%m-%d %H:%M}: {request.reason}"
        answer = f"{last.answer} by run {last.run_id}: {last.reason}" if last else "open"
        rows.append([f"{request.id} {request.trigger}, {request.requested_by}", asked_for, answer])
    table(["request, by", "asked because", "answer"], rows)


def rollback(config: Config, asked: argparse.Namespace) -> None:
    """Make the version before the current champion the champion again; what it replaced stays registered."""
    from ml.decision.rollback import roll_back, sentence
    from ml.ledger.ledger import Ledger

    run_id = asked.run_id or f"command line, after move {len(Ledger(config.ledger).moves.history(config.name))}"
    say(sentence(roll_back(config, asked.as_of, asked.actor, asked.reason, run_id)))


def discard(config: Config, asked: argparse.Namespace) -> None:
    """Take a file that cannot be mended out of the landing folder; it is kept in `discarded`."""
    source = config.landing / asked.file
    if source.parent != config.landing or not source.is_file() or source.is_symlink():
        raise BadInput(f"{asked.file!r} is not a file directly in {config.landing}")
    target = config.home / "discarded" / asked.file
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise BadInput(f"{target} exists already; move it away first")
    source.rename(target)
    say(f"moved to {target}")


def _say_json(value: Any) -> None:
    say(json.dumps(to_record(value), indent=1))


JSON = (("--json",), {"action": "store_true", "help": "print JSON"})
COMMANDS = {
    "status": Command(status, arguments=(JSON,)),
    "answers": Command(
        answers,
        arguments=((("--as-of",), {"type": instant, "default": None, "help": "instant, UTC (default: of the last ingest)"}),),
    ),
    "history": Command(
        history,
        arguments=(
            (("--all",), {"action": "store_true", "help": "all moves, however long that is"}),
            JSON,
        ),
    ),
    "requests": Command(requests, arguments=(JSON,)),
    "rollback": Command(
        rollback,
        needs_as_of=True,
        arguments=(
            (("--reason",), {"required": True, "help": "why, for the ledger"}),
            (("--actor",), {"required": True, "help": "who, for the ledger"}),
            (("--run-id",), {"default": "", "help": "the same id again changes nothing (default: one roll back from here)"}),
        ),
    ),
    "discard": Command(discard, arguments=((("--file",), {"required": True, "help": "name of the file"}),)),
}
