"""A record opens with its own key alone, on both databases."""

import os
import time
from uuid import uuid4

import pytest
import sqlalchemy as sa

from server.storage.engine import Storage
from server.storage.key_cache import KEY_SECONDS_MAX
from server.storage.sealing import KEY_BYTES, SealBroken
from server.storage.session import RecordUnknown
from server.storage.tables import RecordKeyRow
from tests.contract.feed_items import put_observation


@pytest.fixture
async def record_id(storage: Storage):
    made = uuid4()
    await storage.create_record(made, lambda session: None)
    return made


async def wrapped_of(storage: Storage, record_id) -> bytes:
    column = sa.select(RecordKeyRow.wrapped).where(RecordKeyRow.record_id == record_id)
    return await storage.read(record_id, lambda session: session.execute(column).scalar_one())


async def set_wrapped(storage: Storage, record_id, wrapped: bytes) -> None:
    change = sa.update(RecordKeyRow).where(RecordKeyRow.record_id == record_id).values(wrapped=wrapped)
    await storage.write(record_id, lambda session: session.execute(change))


async def test_the_key_in_the_database_is_wrapped(storage, record_id):
    sealer = await storage.read(record_id, lambda session: session.sealer)
    assert sealer._key not in await wrapped_of(storage, record_id)


async def test_another_record_s_wrapped_key_is_refused(storage, record_id):
    other = uuid4()
    await storage.create_record(other, lambda session: None)
    await set_wrapped(storage, other, await wrapped_of(storage, record_id))
    storage.forget_key(other)
    with pytest.raises(SealBroken):
        await storage.read(other, lambda session: None)


async def test_a_key_its_commitment_does_not_fit_is_refused(storage, record_id):
    """What a provider that was deceived, or a key server that lies, could hand us."""
    wrapped = await storage._keys.wrap(record_id, os.urandom(KEY_BYTES))
    committed = await wrapped_of(storage, record_id)
    await set_wrapped(storage, record_id, committed[:32] + wrapped)
    storage.forget_key(record_id)
    with pytest.raises(SealBroken, match="not the one"):
        await storage.read(record_id, lambda session: None)


async def test_a_record_without_its_key_is_unknown_once_the_key_is_forgotten(storage, record_id):
    await put_observation(storage, record_id, "1")
    drop = sa.delete(RecordKeyRow).where(RecordKeyRow.record_id == record_id)
    await storage.write(record_id, lambda session: session.execute(drop))
    storage.forget_key(record_id)
    for call in (storage.read, storage.write, storage.append):
        with pytest.raises(RecordUnknown):
            await call(record_id, lambda session: None)


async def test_a_key_destroyed_by_another_process_dies_within_a_minute(storage, record_id):
    drop = sa.delete(RecordKeyRow).where(RecordKeyRow.record_id == record_id)
    await storage.write(record_id, lambda session: session.execute(drop))
    storage._cache._clock = lambda: time.monotonic() + KEY_SECONDS_MAX
    with pytest.raises(RecordUnknown):
        await storage.read(record_id, lambda session: None)
