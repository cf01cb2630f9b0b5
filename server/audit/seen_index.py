"""Who was shown which version of an item, kept beside the log so that nobody has to read all of it.

It is written with each entry and holds nothing the log does not say: `rebuild` makes it again from the log.
"""

from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col

from server.audit import store
from server.audit.entry import DISCLOSING, LogEntry, open_entry
from server.audit.tables import SeenItemRow
from server.storage.sealing import Sealer
from server.storage.session import ReadSession, WriteSession

ENTRIES_PER_READ = 500


class SeenVersion(NamedTuple):
    """A version of an item that a recipient was shown, with the first and last entry that say so."""

    version: int
    recipient_key: bytes
    first_n: int
    last_n: int


def recipient_key(sealer: Sealer, subject: str) -> bytes:
    """Under what a recipient stands in the index."""
    return sealer.mac("seen-recipient", subject)


def note(session: WriteSession, n: int, entry: LogEntry) -> None:
    """Notes what entry `n` says a holder of a grant was shown. The owner's own looks are not noted."""
    if entry.grant_id is None or entry.kind not in DISCLOSING or not entry.items:
        return
    sealer = session.sealer
    shown = list(dict.fromkeys(entry.items))
    session.hot.keep_seen(
        [sealer.item_key(resource_type, logical_id) for resource_type, logical_id, _ in shown],
        [int(version) for _, _, version in shown],
        recipient_key=recipient_key(sealer, entry.who.subject),
        n=n,
    )


def versions_seen(session: ReadSession, item_key: bytes) -> list[SeenVersion]:
    """Every version of one item that somebody was shown, oldest version first."""
    table = SeenItemRow
    rows = session.execute(
        sa.select(col(table.version), col(table.recipient_key), col(table.first_n), col(table.last_n))
        .where(col(table.record_id) == session.record_id, col(table.item_key) == item_key)
        .order_by(col(table.version), col(table.first_n))
    )
    return [SeenVersion._make(row) for row in rows]


def rebuild(session: WriteSession) -> int:
    """Makes the index again from the log alone; how many entries were read. Holds the log's lock."""
    session.lock_log()
    session.execute(sa.delete(SeenItemRow).where(col(SeenItemRow.record_id) == session.record_id))
    n = 0
    while rows := store.read_entries(session, n, ENTRIES_PER_READ):
        for row in rows:
            note(session, row.n, open_entry(session.sealer, row.n, row.sealed))
        n = rows[-1].n
    return n
