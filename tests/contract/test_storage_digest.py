"""The digest on both databases: whatever is written, it is that of exactly the live rows (I6, I7)."""

from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.storage import feed
from server.storage.engine import Storage
from server.storage.session import ReadSession, WriteSession
from server.storage.tables import ItemRow, RecordDigestRow, StagedItemRow
from sync.digest import Digest, bucket_of, digest_of, entry_hash
from tests.contract.feed_items import body, observation, put_observation, staged

NAMES = ("a", "b", "c", "d", "e", "f")


@pytest.fixture
async def record_id(storage: Storage):
    made = uuid4()
    await storage.create_record(made, lambda session: None)
    return made


@dataclass
class Replica:
    """What a phone makes of the feed: the newest live version of each item, and a digest of its own."""

    held: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    cursor: int = 0

    def apply(self, page: list[feed.FeedChange]) -> None:
        for row in page:
            name = (row.head.resource_type, row.head.logical_id)
            self.held.pop(name, None)
            if row.state == feed.LIVE:
                self.held[name] = (row.version, row.body)
            self.cursor = row.seq

    def root(self, key: bytes) -> bytes:
        entries = (
            (bucket_of(key, *name), entry_hash(key, *name, version=version, body=held))
            for name, (version, held) in self.held.items()
        )
        return digest_of(entries).root(key)


def pulled(session: ReadSession, limit: int) -> Replica:
    replica = Replica()
    while page := feed.changes(session, replica.cursor, limit):
        replica.apply(page)
    return replica


def as_it_should_be(session: ReadSession) -> bytes:
    return pulled(session, 500).root(feed.digest_key(session.sealer))


def root(session: ReadSession) -> bytes | None:
    return feed.standing(session).root


async def test_a_new_record_has_the_digest_of_nothing(storage, record_id):
    found = await storage.read(record_id, root)
    assert found == await storage.read(record_id, as_it_should_be)
    state = await storage.read(record_id, feed.digest_state)
    assert state.count() == 0


async def test_the_root_is_of_the_live_items_and_of_nothing_else(storage, record_id):
    roots = {await storage.read(record_id, root)}
    for state in (feed.LIVE, feed.LIVE, feed.GONE, feed.LIVE, feed.WITHHELD, feed.LIVE, feed.ERASED):
        await storage.write(
            record_id, lambda session, state=state: feed.put(session, [observation("1", state)])
        )
        found = await storage.read(record_id, root)
        assert found == await storage.read(record_id, as_it_should_be)
        roots.add(found)
    # Nothing, and four live versions: each time the item leaves, the root is again that of nothing.
    assert len(roots) == 5


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.dictionaries(st.sampled_from(NAMES), st.sampled_from([0, 0, 1, 2]), min_size=1, max_size=4),
        ),
        st.tuples(st.just("publish"), st.sets(st.sampled_from(NAMES), min_size=1)),
        st.tuples(st.just("fail"), st.sampled_from(NAMES)),
        st.tuples(st.just("withdraw after publishing"), st.sets(st.sampled_from(NAMES), min_size=1)),
    ),
    max_size=8,
)


def publish(session: WriteSession, names: set[str]) -> None:
    extract_id = uuid4()
    standing = feed.currents(session, [session.sealer.item_key("Observation", name) for name in names])
    versions = {current.head.logical_id: current.version for current in standing.values()}
    items = [staged(place, name, versions.get(name, 0)) for place, name in enumerate(sorted(names))]
    feed.stage(session, extract_id, items)
    assert isinstance(feed.publish_staged(session, extract_id), feed.Published)


def play(session: WriteSession, step: tuple[str, object]) -> None:
    match step:
        case ("put", dict(states)):
            feed.put(session, [observation(str(name), int(state)) for name, state in states.items()])
        case ("publish", set(names)):
            publish(session, names)
        case ("withdraw after publishing", set(names)):
            publish(session, names)
            feed.put(session, [observation(str(name), feed.WITHHELD) for name in sorted(names)])
        case (_, name):
            with suppress(ZeroDivisionError), session.savepoint():
                feed.put(session, [observation(str(name))])
                raise ZeroDivisionError


@given(steps=STEPS, limit=st.integers(1, 7))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
async def test_whatever_is_written_the_kept_digest_is_the_replica_s_and_the_rebuilt_one(
    storage, steps, limit
):
    record_id = uuid4()
    await storage.create_record(record_id, lambda session: None)
    for step in steps:
        await storage.write(record_id, lambda session, step=step: play(session, step))

    def check(session: WriteSession) -> None:
        kept = root(session)
        key = feed.digest_key(session.sealer)
        replicas = [pulled(session, each) for each in (limit, 1, 500)]
        assert replicas[0] == replicas[1] == replicas[2]
        assert replicas[0].cursor == feed.standing(session).seq
        assert replicas[0].root(key) == kept
        state = feed.digest_state(session)
        assert state is not None
        assert feed.rebuild_digest(session).encode() == state.encode()
        assert root(session) == kept
        assert leaves_of_every_bucket(session) == sorted(
            (*name, version, entry_hash(key, *name, version=version, body=held))
            for name, (version, held) in replicas[0].held.items()
        )

    await storage.write(record_id, check)


def leaves_of_every_bucket(session: ReadSession) -> list[tuple[str, str, int, bytes]]:
    return sorted(tuple(leaf) for bucket in range(256) for leaf in feed.bucket_leaves(session, bucket))


async def test_a_bucket_s_leaves_are_those_whose_place_begins_with_it(storage, record_id):
    items = [observation(str(number)) for number in range(300)]
    await storage.write(record_id, lambda session: feed.put(session, items))

    def buckets(session: ReadSession) -> dict[int, set[str]]:
        return {
            bucket: {leaf.logical_id for leaf in feed.bucket_leaves(session, bucket)} for bucket in range(256)
        }

    key = await storage.read(record_id, lambda session: feed.digest_key(session.sealer))
    found = await storage.read(record_id, buckets)
    for bucket, ids in found.items():
        assert all(bucket_of(key, "Observation", each) == bucket for each in ids)
    assert sum(len(ids) for ids in found.values()) == 300
    assert max(len(ids) for ids in found.values()) < 12


async def test_two_records_with_the_same_items_have_different_digests(storage, record_id):
    other = uuid4()
    await storage.create_record(other, lambda session: None)
    roots = set()
    for each in (record_id, other):
        await put_observation(storage, each, "1")
        roots.add(await storage.read(each, root))
    assert len(roots) == 2


async def test_a_write_that_fails_leaves_the_digest_as_it_was(storage, record_id):
    await put_observation(storage, record_id, "1")
    before = await storage.read(record_id, feed.standing)

    def fail(session: WriteSession) -> None:
        feed.put(session, [observation("2")])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await storage.write(record_id, fail)
    assert await storage.read(record_id, feed.standing) == before


async def forget_digest(storage: Storage, record_id: UUID) -> None:
    """Makes the record one from before there were digests."""

    def forget(session: WriteSession) -> None:
        session.execute(sa.delete(RecordDigestRow))
        session.execute(sa.update(ItemRow).values(bucket=None, entry=None))

    await storage.write(record_id, forget)


@pytest.mark.parametrize("first", ["put", "publish", "ensure"])
async def test_a_digest_that_was_never_counted_is_counted_by_the_first_write(storage, record_id, first):
    items = [observation(str(number)) for number in range(7)]
    await storage.write(record_id, lambda session: feed.put(session, items))
    await storage.write(record_id, lambda session: feed.put(session, [observation("0", feed.WITHHELD)]))
    counted = await storage.read(record_id, root)
    await forget_digest(storage, record_id)
    assert await storage.read(record_id, root) is None
    assert await storage.read(record_id, feed.digest_state) is None
    if first == "put":
        await put_observation(storage, record_id, "1")
    elif first == "publish":
        await storage.write(record_id, lambda session: publish(session, {"1", "new"}))
    else:
        await storage.write(record_id, feed.ensure_digest)
        assert await storage.read(record_id, root) == counted
    assert await storage.read(record_id, root) == await storage.read(record_id, as_it_should_be)


async def test_what_was_staged_before_there_were_digests_is_to_be_staged_again(storage, record_id):
    extract_id = uuid4()
    items = [staged(0, "1", 0), staged(1, "2", 0)]
    await storage.write(record_id, lambda session: feed.stage(session, extract_id, items))
    forget = sa.update(StagedItemRow).where(StagedItemRow.position == 1).values(bucket=None, entry=None)
    await storage.write(record_id, lambda session: session.execute(forget))
    publish = lambda session: feed.publish_staged(session, extract_id)  # noqa: E731
    assert await storage.write(record_id, publish) == feed.Stale((1,))
    await storage.write(record_id, lambda session: feed.stage(session, extract_id, items[1:]))
    assert await storage.write(record_id, publish) == feed.Published(first_seq=1, count=2)
    assert await storage.read(record_id, root) == await storage.read(record_id, as_it_should_be)


async def test_what_was_altered_in_the_database_is_put_right_by_counting_anew(storage, record_id):
    items = [observation(str(number)) for number in range(5)]
    await storage.write(record_id, lambda session: feed.put(session, items))
    counted = await storage.read(record_id, root)
    alter = sa.update(ItemRow).where(ItemRow.seq == 3).values(entry=b"x" * 32, bucket=1)
    await storage.write(record_id, lambda session: session.execute(alter))
    await storage.write(record_id, lambda session: session.hot.keep_digest(Digest().encode(), b"root"))
    await storage.write(record_id, feed.rebuild_digest)
    assert await storage.read(record_id, root) == counted
    assert len(await storage.read(record_id, leaves_of_every_bucket)) == 5


async def test_standing_tells_of_one_instant(storage, record_id):
    await put_observation(storage, record_id, "1")
    async with storage.snapshot(record_id) as snapshot:
        before = await snapshot.run(feed.standing)
        await put_observation(storage, record_id, "2")
        assert await snapshot.run(feed.standing) == before
        assert await snapshot.run(as_it_should_be) == before.root
    after = await storage.read(record_id, feed.standing)
    assert (before.seq, after.seq) == (1, 2)
    assert (after.epoch, after.floor) == (before.epoch, 0)
    assert after.root != before.root


async def test_a_page_can_end_at_a_given_seq(storage, record_id):
    items = [observation(str(number)) for number in range(9)]
    await storage.write(record_id, lambda session: feed.put(session, items))
    await put_observation(storage, record_id, "4")
    page = await storage.read(record_id, lambda session: feed.changes(session, 2, 100, upto=6))
    assert [row.seq for row in page] == [3, 4, 6]
    page = await storage.read(record_id, lambda session: feed.changes(session, 2, 2, upto=6))
    assert [row.seq for row in page] == [3, 4]
    assert page[0].body == body("2", 1)
