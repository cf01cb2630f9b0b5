"""The feed on both databases: numbering, versions, states, staging."""

from uuid import uuid4

import pytest
import sqlalchemy as sa

from server.storage import feed
from server.storage.engine import Storage
from server.storage.sealing import SealBroken
from server.storage.session import WriteSession
from server.storage.tables import ItemRow, StagedItemRow
from tests.contract.feed_items import body, head, observation, put_observation, staged


@pytest.fixture
async def record_id(storage: Storage):
    made = uuid4()
    await storage.create_record(made, lambda session: None)
    return made


async def seqs_and_versions(storage: Storage, record_id):
    heads = await storage.read(record_id, lambda session: feed.heads(session, 0, 100))
    return [(row.seq, row.head.logical_id, row.head.version) for row in heads]


async def test_each_write_takes_the_next_seq_and_version(storage, record_id):
    first = await put_observation(storage, record_id, "1")
    second = await put_observation(storage, record_id, "2")
    again = await put_observation(storage, record_id, "1")
    assert [(each.version, each.seq) for each in (first, second, again)] == [(1, 1), (1, 2), (2, 3)]
    assert await seqs_and_versions(storage, record_id) == [(2, "2", 1), (3, "1", 2)]


async def test_one_put_numbers_its_items_in_order(storage, record_id):
    items = [observation(str(number)) for number in range(5)]
    stored = await storage.write(record_id, lambda session: feed.put(session, items))
    assert [each.seq for each in stored] == [1, 2, 3, 4, 5]
    assert await storage.read(record_id, lambda session: session.hot.record_state()[0]) == 5


async def test_a_put_of_nothing_moves_nothing(storage, record_id):
    assert await storage.write(record_id, lambda session: feed.put(session, [])) == []
    assert await storage.read(record_id, lambda session: session.hot.record_state()[0]) == 0


async def test_every_version_can_be_read_and_none_is_edited(storage, record_id):
    for _ in range(3):
        await put_observation(storage, record_id, "1")

    def history(session):
        key = session.sealer.item_key("Observation", "1")
        numbers = [each.version for each in feed.versions(session, key)]
        return numbers, [feed.version_body(session, key, version) for version in (0, 1, 2, 3, 4)]

    numbers, bodies = await storage.read(record_id, history)
    assert numbers == [1, 2, 3]
    assert bodies == [None, body("1", 1), body("1", 2), body("1", 3), None]


async def test_pages_of_heads_end_with_an_empty_page(storage, record_id):
    items = [observation(str(number)) for number in range(7)]
    await storage.write(record_id, lambda session: feed.put(session, items))
    after, pages = 0, []
    while page := await storage.read(record_id, lambda session, after=after: feed.heads(session, after, 3)):
        pages.append([row.seq for row in page])
        after = page[-1].seq
    assert pages == [[1, 2, 3], [4, 5, 6], [7]]


@pytest.mark.parametrize("state", [feed.WITHHELD, feed.ERASED])
async def test_a_withheld_or_erased_item_cannot_be_read_in_any_version(storage, record_id, state):
    await put_observation(storage, record_id, "1")
    await storage.write(record_id, lambda session: feed.put(session, [observation("1", state)]))

    def reads(session):
        key = session.sealer.item_key("Observation", "1")
        return [
            feed.heads(session, 0, 10),
            feed.body(session, key),
            feed.bodies(session, [key]),
            feed.current_head(session, key),
            feed.versions(session, key),
            feed.version_body(session, key, 1),
            feed.version_body(session, key, 2),
        ]

    assert await storage.read(record_id, reads) == [[], None, {}, None, [], None, None]
    changes = await storage.read(record_id, lambda session: feed.changes(session, 0, 10))
    assert [(row.seq, row.state, row.body) for row in changes] == [(2, state, b"")]


async def test_a_gone_item_keeps_its_history_and_can_come_back(storage, record_id):
    await put_observation(storage, record_id, "1")
    await storage.write(record_id, lambda session: feed.put(session, [observation("1", feed.GONE)]))

    def reads(session):
        key = session.sealer.item_key("Observation", "1")
        return feed.body(session, key), [each.version for each in feed.versions(session, key)]

    assert await storage.read(record_id, reads) == (None, [1, 2])
    assert (await put_observation(storage, record_id, "1")).version == 3


async def test_an_erased_item_never_comes_back(storage, record_id):
    await storage.write(record_id, lambda session: feed.put(session, [observation("1", feed.ERASED)]))
    with pytest.raises(feed.ItemErased):
        await put_observation(storage, record_id, "1")


async def test_a_hidden_item_is_outside_the_feed(storage, record_id):
    for expected in (1, 2):
        numbers = await storage.write(record_id, lambda session: feed.put_hidden(session, [observation("1")]))
        assert numbers == [expected]

    def reads(session):
        key = session.sealer.item_key("Observation", "1")
        return feed.changes(session, 0, 10), feed.body(session, key), feed.hidden(session, key)

    changes, served, hidden = await storage.read(record_id, reads)
    assert (changes, served) == ([], None)
    assert hidden == (head("1", 2), feed.Body(2, body("1", 2)))
    drop = lambda session: feed.drop_hidden(session, session.sealer.item_key("Observation", "1"))  # noqa: E731
    assert [await storage.write(record_id, drop) for _ in range(2)] == [True, False]


async def test_an_extract_is_published_at_once_with_one_batch(storage, record_id):
    await put_observation(storage, record_id, "1")
    extract_id = uuid4()
    items = [staged(0, "3", 0), staged(1, "1", 1), staged(2, "2", 0)]
    await storage.write(record_id, lambda session: feed.stage(session, extract_id, items))
    assert await seqs_and_versions(storage, record_id) == [(1, "1", 1)]
    published = await storage.write(record_id, lambda session: feed.publish_staged(session, extract_id))
    assert published == feed.Published(first_seq=2, count=3)
    changes = await storage.read(record_id, lambda session: feed.changes(session, 0, 10))
    assert [(row.seq, row.head.logical_id, row.version, row.batch) for row in changes] == [
        (2, "3", 1, 2),
        (3, "1", 2, 2),
        (4, "2", 1, 2),
    ]
    assert [row.body for row in changes] == [body("3", 1), body("1", 2), body("2", 1)]
    key = await storage.read(record_id, lambda session: session.sealer.item_key("Observation", "1"))
    assert await storage.read(record_id, lambda session: feed.version_body(session, key, 1)) == body("1", 1)


async def test_what_was_published_is_taken_away_some_at_a_time_and_never_published_twice(storage, record_id):
    extract_id = uuid4()
    items = [staged(position, str(position), 0) for position in range(5)]
    await storage.write(record_id, lambda session: feed.stage(session, extract_id, items))
    publish = lambda session: feed.publish_staged(session, extract_id)  # noqa: E731
    assert await storage.write(record_id, publish) == feed.Published(first_seq=1, count=5)
    assert await storage.write(record_id, publish) == feed.Stale((0, 1, 2, 3, 4))
    some = lambda session: feed.discard_staged(session, extract_id, at_most=3)  # noqa: E731
    assert [await storage.write(record_id, some) for _ in range(3)] == [3, 2, 0]
    left = sa.select(sa.func.count()).select_from(StagedItemRow)
    assert await storage.read(record_id, lambda session: session.execute(left).scalar_one()) == 0
    assert len(await seqs_and_versions(storage, record_id)) == 5


async def test_publishing_inserts_with_one_statement_however_many_items(storage, record_id):
    extract_id = uuid4()
    items = [staged(position, str(position), 0) for position in range(200)]
    await storage.write(record_id, lambda session: feed.stage(session, extract_id, items))
    statements: list[str] = []

    def publish(session: WriteSession):
        def note(*event):
            statements.append(event[2])

        sa.event.listen(session._connection, "before_cursor_execute", note)
        try:
            return feed.publish_staged(session, extract_id)
        finally:
            sa.event.remove(session._connection, "before_cursor_execute", note)

    await storage.write(record_id, publish)
    assert len([text for text in statements if text.startswith("INSERT INTO item (")]) == 1
    assert len(statements) <= 5


async def test_a_stale_extract_publishes_nothing_until_staged_again(storage, record_id):
    await put_observation(storage, record_id, "1")
    extract_id = uuid4()
    items = [staged(0, "new", 0), staged(1, "1", 1), staged(2, "2", 0)]
    await storage.write(record_id, lambda session: feed.stage(session, extract_id, items))
    await put_observation(storage, record_id, "1")
    await put_observation(storage, record_id, "2")
    publish = lambda session: feed.publish_staged(session, extract_id)  # noqa: E731
    assert await storage.write(record_id, publish) == feed.Stale((1, 2))
    assert len(await seqs_and_versions(storage, record_id)) == 2
    again = [staged(1, "1", 2), staged(2, "2", 1)]
    await storage.write(record_id, lambda session: feed.stage(session, extract_id, again))
    assert await storage.write(record_id, publish) == feed.Published(first_seq=4, count=3)


async def test_a_discarded_extract_leaves_nothing(storage, record_id):
    extract_id = uuid4()
    await storage.write(record_id, lambda session: feed.stage(session, extract_id, [staged(0, "1", 0)]))
    assert await storage.write(record_id, lambda session: feed.discard_staged(session, extract_id)) == 1
    publish = lambda session: feed.publish_staged(session, extract_id)  # noqa: E731
    assert (await storage.write(record_id, publish)).count == 0


MOVES = {
    "a body under another item": {"body": sa.text("(SELECT body FROM item AS other WHERE other.seq = 2)")},
    "a head under another item": {"head": sa.text("(SELECT head FROM item AS other WHERE other.seq = 2)")},
    "an old version as the newest": {
        "head": sa.text("(SELECT head FROM item_version)"),
        "body": sa.text("(SELECT body FROM item_version)"),
    },
    "another version number": {"version": 7},
    "a withheld item made live": {"state": feed.LIVE},
}


@pytest.mark.parametrize("move", MOVES)
async def test_what_was_moved_in_the_database_does_not_open(storage, record_id, move):
    await storage.write(
        record_id, lambda session: feed.put(session, [observation("0"), observation("other")])
    )
    await storage.write(record_id, lambda session: feed.put(session, [observation("0", feed.WITHHELD)]))
    if "withheld" not in move:
        await storage.write(record_id, lambda session: feed.put(session, [observation("1")]))
        await storage.write(record_id, lambda session: feed.put(session, [observation("1")]))
    item_key = await storage.read(
        record_id, lambda session: session.sealer.item_key("Observation", "0" if "withheld" in move else "1")
    )
    if move == "an old version as the newest":
        clean = sa.text("DELETE FROM item_version WHERE item_key <> :key").bindparams(key=item_key)
        await storage.write(record_id, lambda session: session.execute(clean))
    change = sa.update(ItemRow).where(ItemRow.item_key == item_key).values(MOVES[move])
    await storage.write(record_id, lambda session: session.execute(change))

    def open_both(session):
        feed.heads(session, 0, 10)
        return feed.body(session, item_key)

    with pytest.raises(SealBroken):
        await storage.read(record_id, open_both)


async def test_a_hidden_item_moved_into_the_feed_does_not_open(storage, record_id):
    await storage.write(record_id, lambda session: feed.put_hidden(session, [observation("1")]))
    columns = "record_id, item_key, version, head, body"
    move = sa.text(f"INSERT INTO item ({columns}, seq, state) SELECT {columns}, 1, 0 FROM hidden_item")
    await storage.write(record_id, lambda session: session.execute(move))
    with pytest.raises(SealBroken):
        await storage.read(record_id, lambda session: feed.heads(session, 0, 10))
