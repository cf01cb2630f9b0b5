"""The thin line of sharing on both databases: offered, redeemed, confirmed, read through, ended."""

import pytest
import pytest_asyncio

from server.audit import service as audit
from server.errors import AccessEnded, NotSignedIn
from server.sharing.authorise import authorise
from server.storage import feed
from server.storage.engine import Storage
from tests.contract.sharing_world import BASE_URL, REFUSED, SharingWorld, holder, written


@pytest_asyncio.fixture
async def world(storage: Storage) -> SharingWorld:
    return await SharingWorld(storage).begin()


async def test_an_open_offer_is_redeemed_confirmed_used_and_ended(world: SharingWorld) -> None:
    grant, offer = await world.offer()
    pending = await world.redeem(written(offer))
    assert await world.refused("redemption", str(pending.redemption_id)) == (
        "authorization_pending",
        REFUSED[1],
        {"interval": 2, "redemption": str(pending.redemption_id), "match": pending.match},
    )
    shown = await world.sharing.one(world.record_id, grant.grant_id)
    assert shown.state == "pending"
    assert shown.waiting is not None
    assert (shown.waiting.redeemer.name, shown.waiting.match) == ("Dr Patel", pending.match)

    allowed = await world.sharing.allow(
        await world.owner(), grant.grant_id, pending.redemption_id, pending.match
    )
    assert allowed.state == "active"
    answer = await world.exchange("redemption", str(pending.redemption_id))
    claims = world.access_tokens.verify(answer["access_token"], await world.now())
    assert (claims.patient, claims.record, claims.grant, claims.grant_version, claims.purpose) == (
        world.patient_id,
        str(world.record_id),
        str(grant.grant_id),
        3,
        "TREAT",
    )
    assert answer["sentence"].startswith(
        "Dr Patel (GP, Beeston Practice) can see your current summary until "
    )
    assert answer["may_not_be_whole"] is True

    principal = holder(world, answer)
    authority = await authorise(world.storage, principal, world.record_id)
    assert (authority.relation, authority.grant_version) == ("recipient", 3)

    receipt = await world.sharing.end(await world.owner(), grant.grant_id, None)
    assert receipt.sentence.startswith("Access for Dr Patel (GP, Beeston Practice) ended at ")
    with pytest.raises(NotSignedIn):
        await authorise(world.storage, principal, world.record_id)
    assert await world.refused("access-grant", answer["grant"]) == REFUSED
    entry = (await audit.entries(world.storage, world.record_id, 0, 1)).entries[0].entry
    with pytest.raises(AccessEnded):
        await audit.append(world.storage, world.record_id, entry, authority.still_live)

    log = await audit.entries(world.storage, world.record_id, 0, 50)
    assert [line.entry.kind for line in log.entries] == ["grant", "redeem", "end", "denied"]
    assert BASE_URL.startswith("https://")


async def test_the_consent_in_the_feed_follows_the_grant(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live()
    await world.sharing.end(await world.owner(), grant.grant_id, None)

    def versions(session) -> list[tuple[int, str]]:
        key = session.sealer.item_key("Consent", answer["grant"])
        heads = feed.versions(session, key)
        return [(head.version, head.search["status"][0].rpartition("|")[2]) for head in heads]

    assert await world.storage.read(world.record_id, versions) == [
        (1, "proposed"),
        (2, "active"),
        (3, "inactive"),
    ]
