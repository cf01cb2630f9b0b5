"""How the live items of a record lie in its feed: what a first load is cut up by."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import col

from server.storage.feed_rows import LIVE
from server.storage.session import ReadSession
from server.storage.tables import ItemRow


class FeedRange(NamedTuple):
    """One part of the feed: its first and last number, its live items, and the bytes of their bodies."""

    first: int
    last: int
    live: int
    sealed_bytes: int


def live_ranges(session: ReadSession, size: int) -> list[FeedRange]:
    """The parts of `size` numbers each that hold any live item, in order."""
    # Whole numbers divide to whole numbers in both databases; SQLAlchemy's own `//` adds a floor() to that.
    index = (col(ItemRow.seq) - 1).self_group().op("/")(sa.literal_column(str(size)))
    rows = session.execute(
        sa.select(index, sa.func.count(), sa.func.sum(sa.func.length(col(ItemRow.body))))
        .where(col(ItemRow.record_id) == session.record_id, col(ItemRow.state) == LIVE)
        .group_by(index)
        .order_by(index)
    )
    return [
        FeedRange(number * size + 1, (number + 1) * size, count, int(sealed))
        for number, count, sealed in rows
    ]
