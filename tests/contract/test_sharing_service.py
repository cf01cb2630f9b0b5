"""Offering, looking, ending and being authorised, with the table of who may not; on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from fhir_profiles.slices import Slice
from server.audit import service as audit
from server.audit.entry import LogEntry
from server.errors import Conflict, LimitReached, NotFound, NotSignedIn, RuleBroken, StepUpNeeded
from server.identity.principal import Principal
from server.sharing import store
from server.sharing.authorise import authorise, authorise_owner
from server.sharing.authority import grant_is_live
from server.sharing.grant import Recipient
from server.sharing.presenting import grant_view, offered_view
from server.sharing.rules import Terms
from server.storage import directory_sharing, feed
from server.storage.engine import Storage
from server.storage.sealing import SealBroken
from server.storage.session import ReadSession, WriteSession
from tests.contract.sharing_world import BASE_URL, CITIZEN, OKAFOR, REFUSED, SharingWorld, holder, written
from tests.unit.sharing.making import active

FAR_AWAY = datetime(2100, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture
async def world(storage: Storage) -> SharingWorld:
    return await SharingWorld(storage).begin()


def pass_time(world: SharingWorld, **passed: int) -> None:
    world.storage.clock_offset += timedelta(**passed)


async def kinds_in_log(world: SharingWorld) -> list[str]:
    page = await audit.entries(world.storage, world.record_id, 0, 200)
    return [line.entry.kind for line in page.entries]


TERMS = Terms(to=Recipient(kind="open"), slice=Slice(), purpose="TREAT", seconds=60, offer_seconds=60)


@pytest.mark.parametrize(("ago", "may"), [(0, True), (299, True), (302, False), (86_400, False)])
async def test_offering_needs_a_sign_in_of_the_last_five_minutes(
    world: SharingWorld, ago: int, may: bool
) -> None:
    owner = await world.owner(signed_in_ago=ago)
    if may:
        await world.sharing.offer(owner, TERMS)
        return
    with pytest.raises(StepUpNeeded):
        await world.sharing.offer(owner, TERMS)
    assert await world.sharing.every(world.record_id) == []


async def test_ending_needs_no_recent_sign_in(world: SharingWorld) -> None:
    grant, _, _ = await world.grant_live()
    await world.sharing.end(await world.owner(signed_in_ago=86_400), grant.grant_id, None)
    await world.sharing.end_all(await world.owner(signed_in_ago=86_400))


async def test_terms_that_may_not_be_had_leave_nothing_behind(world: SharingWorld) -> None:
    bad = msgspec.structs.replace(TERMS, seconds=0)
    with pytest.raises(RuleBroken) as refused:
        await world.sharing.offer(await world.owner(), bad)
    assert refused.value.pointer == "/seconds"
    assert await world.sharing.every(world.record_id) == []
    assert await kinds_in_log(world) == []


async def test_a_sixth_offer_waits_for_one_to_end(world: SharingWorld) -> None:
    offers = [await world.offer() for _ in range(5)]
    with pytest.raises(LimitReached):
        await world.offer()
    assert len(await world.sharing.every(world.record_id)) == 5
    await world.sharing.end(await world.owner(), offers[0][0].grant_id, None)
    await world.offer()


async def test_the_answer_to_an_offer_shows_the_code_once(world: SharingWorld) -> None:
    grant, offer = await world.offer()
    shown = offered_view(grant, offer, BASE_URL)
    assert shown.offer.code == written(offer)
    assert shown.offer.link.startswith(f"{BASE_URL}/redeem#{offer.typed.name}.")
    assert shown.offer.qr_svg.startswith("<svg")
    assert shown.offer.expires_in == 600
    assert shown.sentence.startswith(shown.recipient_sentence)
    later = msgspec.json.encode(grant_view(await world.sharing.one(world.record_id, grant.grant_id)))
    assert offer.typed.secret.encode() not in later
    assert offer.link.secret.encode() not in later


async def test_two_offers_cannot_have_one_name(world: SharingWorld) -> None:
    def add(session: Any) -> bytes | None:
        return directory_sharing.add_offer(
            session,
            directory_sharing.NewOffer(
                name="7K3M",
                typed_secret="000000",
                link_secret="x",
                record_id=world.record_id,
                grant_id=uuid4(),
                seconds=60,
            ),
        )

    assert await world.storage.register(add) is not None
    assert await world.storage.register(add) is None
    pass_time(world, seconds=60)
    assert await world.storage.register(add) is not None
    pass_time(world, seconds=60)
    await world.storage.register(directory_sharing.purge_expired)


async def test_a_list_shows_every_grant_as_it_stands_now(world: SharingWorld) -> None:
    first, _, _ = await world.grant_live(seconds=60)
    second, offer = await world.offer()
    await world.redeem(written(offer), who=OKAFOR, jkt="okafor-key")
    third, _ = await world.offer()
    views = [grant_view(one) for one in await world.sharing.every(world.record_id)]
    assert [(view.grant_id, view.state) for view in views] == [
        (str(third.grant_id), "offered"),
        (str(second.grant_id), "pending"),
        (str(first.grant_id), "active"),
    ]
    assert [view.redeemer.name if view.redeemer else None for view in views] == [None, None, "Dr Patel"]
    assert [view.pending.name if view.pending else None for view in views] == [None, "Sam Okafor", None]
    pass_time(world, seconds=600)
    assert {one.state for one in await world.sharing.every(world.record_id)} == {"expired"}


async def test_a_grant_that_is_not_there_is_not_found(world: SharingWorld) -> None:
    owner = await world.owner()
    with pytest.raises(NotFound):
        await world.sharing.one(world.record_id, uuid4())
    with pytest.raises(NotFound):
        await world.sharing.end(owner, uuid4(), None)
    with pytest.raises(NotFound):
        await world.sharing.allow(owner, uuid4(), uuid4(), "47")
    assert await kinds_in_log(world) == []


async def test_a_yes_needs_the_digits_and_the_person_who_waits(world: SharingWorld) -> None:
    grant, offer = await world.offer()
    pending = await world.redeem(written(offer))
    other, other_offer = await world.offer()
    elsewhere = await world.redeem(written(other_offer), who=OKAFOR)
    owner = await world.owner()
    wrong = f"{(int(pending.match) + 1) % 100:02}"
    with pytest.raises(RuleBroken):
        await world.sharing.allow(owner, grant.grant_id, pending.redemption_id, wrong)
    for redemption_id in (uuid4(), elsewhere.redemption_id):
        with pytest.raises(Conflict):
            await world.sharing.allow(owner, grant.grant_id, redemption_id, elsewhere.match)
        with pytest.raises(Conflict):
            await world.sharing.reject(owner, grant.grant_id, redemption_id)
    assert (await world.sharing.one(world.record_id, grant.grant_id)).state == "pending"
    assert (await world.sharing.one(world.record_id, other.grant_id)).state == "pending"


async def test_the_fifty_first_yes_waits_for_one_to_end(world: SharingWorld) -> None:
    grant, offer = await world.offer()
    pending = await world.redeem(written(offer))
    crowd = [msgspec.structs.replace(active(), grant_id=uuid4(), ends_at=FAR_AWAY) for _ in range(50)]

    def enter(session: WriteSession) -> None:
        for other in crowd:
            store.add_grant(session, other)

    await world.storage.write(world.record_id, enter)
    owner = await world.owner()
    with pytest.raises(LimitReached):
        await world.sharing.allow(owner, grant.grant_id, pending.redemption_id, pending.match)
    await world.sharing.end(owner, crowd[0].grant_id, None)
    await world.sharing.allow(owner, grant.grant_id, pending.redemption_id, pending.match)


async def test_saying_yes_twice_is_saying_it_once(world: SharingWorld) -> None:
    grant, _, pending = await world.grant_live()
    owner = await world.owner()
    pass_time(world, seconds=5)
    again = await world.sharing.allow(owner, grant.grant_id, pending.redemption_id, pending.match)
    assert again.grant.version == 3
    with pytest.raises(Conflict):
        await world.sharing.reject(owner, grant.grant_id, pending.redemption_id)
    await world.sharing.end(owner, grant.grant_id, None)
    with pytest.raises(Conflict):
        await world.sharing.allow(owner, grant.grant_id, pending.redemption_id, pending.match)


async def test_saying_no_twice_is_saying_it_once(world: SharingWorld) -> None:
    grant, offer = await world.offer()
    pending = await world.redeem(written(offer))
    owner = await world.owner()
    for _ in range(2):
        shown = await world.sharing.reject(owner, grant.grant_id, pending.redemption_id)
        assert shown.state == "rejected"
    assert await kinds_in_log(world) == ["grant", "denied"]
    with pytest.raises(Conflict):
        await world.sharing.allow(owner, grant.grant_id, pending.redemption_id, pending.match)


async def test_ending_again_answers_the_same_receipt(world: SharingWorld) -> None:
    grant, _, _ = await world.grant_live()
    owner = await world.owner()
    first = await world.sharing.end(owner, grant.grant_id, "done")
    pass_time(world, days=3)
    assert await world.sharing.end(owner, grant.grant_id, "again") == first
    assert (await kinds_in_log(world)).count("end") == 1
    shown = await world.sharing.one(world.record_id, grant.grant_id)
    assert (shown.state, shown.grant.end_reason) == ("ended", "done")


async def test_ending_what_ran_out_answers_when_it_ran_out(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live(seconds=60)
    pass_time(world, seconds=61)
    receipt = await world.sharing.end(await world.owner(), grant.grant_id, None)
    assert receipt.effective_at == answer["ends_at"]
    assert await world.sharing.end(await world.owner(), grant.grant_id, None) == receipt
    assert (await world.sharing.one(world.record_id, grant.grant_id)).state == "expired"
    assert "end" not in await kinds_in_log(world)


async def test_a_receipt_lists_what_was_seen_and_nothing_else(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live()
    authority = await authorise(world.storage, holder(world, answer), world.record_id)
    entry = LogEntry(
        kind="search",
        who=authority.who,
        sentence="Dr Patel searched and saw 2 items.",
        grant_id=grant.grant_id,
        items=(("Condition", "1", "1"), ("Condition", "2", "4")),
    )
    await audit.append(world.storage, world.record_id, entry, authority.still_live)
    elsewhere = msgspec.structs.replace(entry, grant_id=uuid4(), items=(("Condition", "9", "1"),))
    await audit.append(world.storage, world.record_id, elsewhere)
    shown = grant_view(await world.sharing.one(world.record_id, grant.grant_id))
    assert shown.items_seen == 2
    assert shown.last_read_at is not None
    receipt = await world.sharing.end(await world.owner(), grant.grant_id, None)
    assert [(item.type, item.id, item.version) for item in receipt.seen] == [
        ("Condition", "1", "1"),
        ("Condition", "2", "4"),
    ]
    assert "2 items" in receipt.cannot_undo


async def test_ending_everything_ends_grants_offers_and_who_waits(world: SharingWorld) -> None:
    live, answer, _ = await world.grant_live()
    _, waiting_offer = await world.offer()
    waiting = await world.redeem(written(waiting_offer), who=OKAFOR)
    _, unused = await world.offer()
    over, _ = await world.offer()
    await world.sharing.end(await world.owner(), over.grant_id, None)

    receipts = await world.sharing.end_all(await world.owner())
    assert len(receipts) == 3
    assert len({receipt.effective_at for receipt in receipts}) == 1
    assert str(live.grant_id) in {receipt.grant_id for receipt in receipts}
    assert {one.state for one in await world.sharing.every(world.record_id)} == {"ended"}
    with pytest.raises(NotSignedIn):
        await authorise(world.storage, holder(world, answer), world.record_id)
    assert await world.refused("offer-code", written(unused)) == REFUSED
    assert await world.refused("redemption", str(waiting.redemption_id), who=OKAFOR) == REFUSED
    assert await world.sharing.end_all(await world.owner()) == []


async def test_the_owner_of_the_record_has_the_whole_of_it(world: SharingWorld) -> None:
    authority = await authorise(world.storage, await world.citizen(), world.record_id)
    assert authority.relation == "owner"
    assert authority.slice is None
    assert authority.still_live is None
    assert authority.reaches("Consent")
    assert (authority.who.subject, authority.who.name) == (CITIZEN.subject, CITIZEN.name)


async def test_the_holder_of_a_grant_has_its_slice(world: SharingWorld) -> None:
    shared = Slice(categories=("medicines",), hide=("Condition/1",))
    grant, answer, _ = await world.grant_live(shared=shared)
    authority = await authorise(world.storage, holder(world, answer), world.record_id)
    assert authority.slice == shared
    assert (authority.grant_id, authority.grant_version) == (grant.grant_id, 3)
    assert (authority.who.name, authority.who.role, authority.who.organisation) == (
        "Dr Patel",
        "GP",
        "Beeston Practice",
    )
    assert authority.purpose == "TREAT"
    assert authority.types is None
    narrowed = holder(world, answer, scope="patient/Observation.rs")
    authority = await authorise(world.storage, narrowed, world.record_id)
    assert [authority.reaches(name) for name in ("Observation", "Condition")] == [True, False]


@pytest.mark.parametrize(
    "changed",
    [
        {"record_id": uuid4()},
        {"record_id": None},
        {"grant_id": uuid4()},
        {"grant_id": None},
        {"subject": OKAFOR.subject},
        {"jkt": "another-key"},
        {"kind": "citizen"},
        {"kind": "integrator"},
        {"kind": "citizen", "grant_id": None},
        {"kind": "integrator", "grant_id": None},
        {"kind": "citizen", "subject": CITIZEN.subject},
    ],
)
async def test_everybody_else_finds_nothing(world: SharingWorld, changed: dict[str, Any]) -> None:
    _, answer, _ = await world.grant_live()
    principal = holder(world, answer, **changed)
    with pytest.raises(NotFound) as refused:
        await authorise(world.storage, principal, world.record_id)
    assert refused.value.detail == NotFound().detail


@pytest.mark.parametrize("version", [None, 0, 1, 2, 4])
async def test_a_token_of_another_version_is_invalid(world: SharingWorld, version: int | None) -> None:
    _, answer, _ = await world.grant_live()
    with pytest.raises(NotSignedIn) as refused:
        await authorise(world.storage, holder(world, answer, grant_version=version), world.record_id)
    assert refused.value.error == "invalid_token"
    assert "denied" not in await kinds_in_log(world)


async def test_a_record_that_is_not_there_is_not_found(world: SharingWorld) -> None:
    _, answer, _ = await world.grant_live()
    elsewhere = uuid4()
    for principal in (
        holder(world, answer, record_id=elsewhere),
        msgspec.structs.replace(await world.citizen(), record_id=elsewhere),
    ):
        with pytest.raises(NotFound):
            await authorise(world.storage, principal, elsewhere)


async def test_another_citizen_finds_nothing(world: SharingWorld) -> None:
    other: Principal = msgspec.structs.replace(await world.citizen(), subject="login:ben")
    for check in (authorise, authorise_owner):
        with pytest.raises(NotFound):
            await check(world.storage, other, world.record_id)


async def test_a_recipient_may_not_do_what_is_the_owners(world: SharingWorld) -> None:
    _, answer, _ = await world.grant_live()
    with pytest.raises(NotFound):
        await authorise_owner(world.storage, holder(world, answer), world.record_id)


async def test_access_ends_for_its_holder_at_its_last_moment(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live(seconds=600)
    still_live = grant_is_live(grant.grant_id, 3)
    assert await world.storage.read(world.record_id, still_live)
    pass_time(world, seconds=600)
    assert not await world.storage.read(world.record_id, still_live)
    with pytest.raises(NotSignedIn):
        await authorise(world.storage, holder(world, answer), world.record_id)


async def test_a_look_after_the_end_is_one_line_a_minute_in_the_log(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live()
    await world.sharing.end(await world.owner(), grant.grant_id, None)
    principal = holder(world, answer)

    async def look() -> None:
        with pytest.raises(NotSignedIn):
            await authorise(world.storage, principal, world.record_id)

    await asyncio.gather(*(look() for _ in range(20)))
    assert (await kinds_in_log(world)).count("denied") == 1
    pass_time(world, seconds=61)
    await look()
    assert (await kinds_in_log(world)).count("denied") == 2
    page = await audit.entries(world.storage, world.record_id, 0, 50)
    line = next(line.entry for line in page.entries if line.entry.kind == "denied")
    assert line.sentence == (
        "Dr Patel (GP, Beeston Practice) tried to look after access was over. Dr Patel saw nothing."
    )


async def test_a_token_is_live_for_introspection_only_while_its_grant_is(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live()
    claims = world.access_tokens.verify(answer["access_token"], await world.now())
    assert await world.redeeming.is_token_live(claims)
    for changed in ({"grant_version": 2}, {"grant_version": None}, {"record": str(uuid4())}):
        other = msgspec.structs.replace(claims, **changed)
        assert not await world.redeeming.is_token_live(other)
    await world.sharing.end(await world.owner(), grant.grant_id, None)
    assert not await world.redeeming.is_token_live(claims)


async def test_an_older_version_of_a_grant_put_back_does_not_open(world: SharingWorld) -> None:
    grant, _, _ = await world.grant_live()

    def put_back(session: Any) -> None:
        import sqlalchemy as sa

        from server.sharing.tables import AccessGrantRow

        session.execute(sa.update(AccessGrantRow).values(version=99))

    await world.storage.write(world.record_id, put_back)
    with pytest.raises(SealBroken):
        await world.sharing.one(world.record_id, grant.grant_id)


async def test_a_grant_that_cannot_be_made_leaves_no_consent(world: SharingWorld) -> None:
    for _ in range(5):
        await world.offer()
    with pytest.raises(LimitReached):
        await world.offer()

    def consents(session: ReadSession) -> int:
        return len(feed.heads(session, 0, 100))

    assert await world.storage.read(world.record_id, consents) == 5
