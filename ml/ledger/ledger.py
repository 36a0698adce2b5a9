"""The ledger of one database: every kind of record under its own name.

`as_of` is the business instant and comes from the caller; `recorded_at` is the wall clock of the database.
"""

from __future__ import annotations

from ml.ledger.competitions import Competitions
from ml.ledger.database import Database
from ml.ledger.decisions import Decisions
from ml.ledger.holdouts import HoldoutUses
from ml.ledger.messages import Messages
from ml.ledger.moves import Moves
from ml.ledger.refusals import Refusals
from ml.ledger.releases import Releases
from ml.ledger.requests import Requests
from ml.ledger.signals import Signals
from ml.ledger.trainings import Trainings
from ml.ledger.upgrade import upgrade


class Ledger:
    """The ledger of one database, which may hold many models.

    Writers take turns (SQLite's write lock, an advisory lock on PostgreSQL), so each of them decides on what the one
    before it wrote; unique constraints stand behind that. A ledger may be carried over a fork, unless it keeps a connection,
    and needs no closing.

    Parameters:
        url: SQLAlchemy URL, `sqlite:///folder/ledger.db` or `postgresql://user@host/database`. The tables are made when they
            are missing and upgraded when they are of an older version, also when several processes do so at once; so is the
            folder of a SQLite file.
        keeps_connection: see `Database`.

    Raises:
        ValueError: the URL is of another database, or of a SQLite database in memory.
        LedgerIsNewer: a newer version of this code has upgraded it.

    >>> import tempfile
    >>> ledger = Ledger(f"sqlite:///{tempfile.mkdtemp()}/ledger.db")
    >>> ledger.moves.champion("fraud") is None
    True
    """

    def __init__(self, url: str, keeps_connection: bool = False) -> None:
        database = Database(url, keeps_connection)
        upgrade(database)
        self.trainings = Trainings(database)
        self.decisions = Decisions(database)
        self.holdouts = HoldoutUses(database)
        self.moves = Moves(database)
        self.releases = Releases(database)
        self.competitions = Competitions(database)
        self.requests = Requests(database)
        self.signals = Signals(database)
        self.messages = Messages(database)
        self.refusals = Refusals(database)
