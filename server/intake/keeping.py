"""Keeps an extract's bytes as they came, and gives them back: whole, or one item's (`$source`)."""

from typing import Final
from uuid import UUID

from fhir_profiles.heads import Head
from server.errors import NotFound
from server.intake import store
from server.intake.store import PART_BYTES, KeptExtractState
from server.storage.engine import Storage
from server.storage.session import ReadSession, WriteSession

# Sealing a part takes a few milliseconds of the writer's time, which others wait for.
PARTS_PER_WRITE: Final = 4


async def keep_bytes(
    storage: Storage, record_id: UUID, extract_id: UUID, *, body: bytes, state: KeptExtractState
) -> None:
    """Keeps the bytes, and then the state: an extract without a state was never acknowledged."""
    parts = range(0, len(body), PART_BYTES)
    for first in range(0, len(parts), PARTS_PER_WRITE):
        some = parts[first : first + PARTS_PER_WRITE]

        def put(session: WriteSession, some: range = some) -> None:
            for start in some:
                store.put_part(session, extract_id, start // PART_BYTES, body[start : start + PART_BYTES])

        await storage.write(record_id, put)
    await storage.write(record_id, lambda session: store.put_extract(session, extract_id, state))


async def kept_bytes(storage: Storage, record_id: UUID, extract_id: UUID, *, parts: int) -> bytes:
    """All the bytes of an extract, as they came."""
    chunks = [
        await storage.read(record_id, lambda session, part=part: store.part_bytes(session, extract_id, part))
        for part in range(parts)
    ]
    return b"".join(chunks)


async def source_bytes(storage: Storage, record_id: UUID, head: Head) -> bytes:
    """The bytes a version of an item came from, exactly as sent. NotFound for what we authored ourselves."""
    if head.source is None:
        raise NotFound
    extract_id, offset, length = UUID(head.source[0]), head.source[1], head.source[2]
    first, last = offset // PART_BYTES, (offset + length - 1) // PART_BYTES

    def read(session: ReadSession) -> bytes:
        whole = b"".join(store.part_bytes(session, extract_id, part) for part in range(first, last + 1))
        return whole[offset - first * PART_BYTES :][:length]

    found = await storage.read(record_id, read)
    if len(found) != length:
        raise NotFound
    return found
