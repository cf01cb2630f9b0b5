"""Which items the person says are wrong, while nobody has settled it: every View marks them."""

from uuid import UUID

import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from fhir_profiles import served
from fhir_profiles.parse import decode_checked, encode
from server.storage.session import ReadSession, WriteSession
from server.storage.tables import QuestionedItemRow

TAG = "questioned"
DISPLAY = "Questioned by the person"
NOTE = "The person whose record this is has questioned this item. It may be wrong."


def questioned_keys(session: ReadSession) -> frozenset[bytes]:
    """The keys of the items that are questioned now."""
    found = session.execute(
        sa.select(col(QuestionedItemRow.item_key)).where(
            col(QuestionedItemRow.record_id) == session.record_id
        )
    )
    return frozenset(found.scalars())


def count_open(session: ReadSession) -> int:
    """How many corrections have a mark: those that are open, and the disagreements that stand."""
    counted = sa.func.count(sa.distinct(col(QuestionedItemRow.correction_id)))
    found = session.execute(sa.select(counted).where(col(QuestionedItemRow.record_id) == session.record_id))
    return found.scalar_one()


def mark(session: WriteSession, item_key: bytes, correction_id: UUID) -> None:
    """Marks an item as questioned by this correction.

    The caller writes to the feed in the same transaction: Views are kept by its head.
    """
    row = {"record_id": session.record_id, "item_key": item_key, "correction_id": correction_id}
    key = ["record_id", "item_key", "correction_id"]
    session.execute(insert(QuestionedItemRow).values(row).on_conflict_do_nothing(index_elements=key))


def unmark(session: WriteSession, item_key: bytes, correction_id: UUID) -> None:
    """Takes this correction's mark away; the item stays marked while another correction questions it."""
    session.execute(
        sa.delete(QuestionedItemRow).where(
            col(QuestionedItemRow.record_id) == session.record_id,
            col(QuestionedItemRow.item_key) == item_key,
            col(QuestionedItemRow.correction_id) == correction_id,
        )
    )


def marked(body: bytes) -> bytes:
    """The served bytes with our tag and extension beside what they say."""
    resource = served.with_tag(decode_checked(body), TAG, DISPLAY)
    return encode(served.with_extension(resource, TAG, {"valueString": NOTE}))
