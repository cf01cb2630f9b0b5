"""Narrowing and extending a grant, and what then holds for its holder; on both databases."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
import sqlalchemy as sa

from fhir_profiles.parse import decode
from fhir_profiles.slices import NAMED_ITEMS_MAX, Slice
from server.audit import service as audit
from server.audit.entry import LogEntry
from server.errors import AccessEnded, Conflict, NotFound, NotSignedIn, RuleBroken, Stale, StepUpNeeded
from server.sharing.authorise import authorise
from server.sharing.grant import Grant, Recipient
from server.sharing.offering import Offered
from server.sharing.presenting import offered_view
from server.sharing.rules import Narrowing, Terms
from server.storage import feed
from server.storage.command import carry_out
from server.storage.directory_tables import OfferRow
from server.storage.engine import Storage
from server.storage.session import ReadSession
from tests.contract.sharing_world import BASE_URL, DAY, OKAFOR, REFUSED, SharingWorld, holder, written

WIDE = Slice(categories=("medicines", "results"), add=("Observation/1",), sensitive=("hiv",))
NARROW = Slice(categories=("medicines",), hide=("Condition/2",))
WIDER = Slice(categories=("medicines", "results", "documents"), add=("Observation/1",), sensitive=("hiv",))
LIVE = 3
"""The version of a grant that was offered, used and said yes to."""


@pytest_asyncio.fixture
async def world(storage: Storage) -> SharingWorld:
    return await SharingWorld(storage).begin()


def pass_time(world: SharingWorld, **passed: int) -> None:
    world.storage.clock_offset += timedelta(**passed)


def asked(base: int = LIVE, shared: Slice | None = None, ends_at: datetime | None = None) -> Narrowing:
    return Narrowing(base_version=base, slice=shared, ends_at=ends_at)


async def lines(world: SharingWorld) -> list[tuple[str, str]]:
    page = await audit.entries(world.storage, world.record_id, 0, 200)
    return [(line.entry.kind, line.entry.sentence) for line in page.entries]


async def consents(world: SharingWorld, grant: Grant) -> list[dict[str, Any]]:
    """Every version of the grant's Consent, oldest first."""

    def read(session: ReadSession) -> list[dict[str, Any]]:
        key = session.sealer.item_key("Consent", str(grant.grant_id))
        bodies = [feed.version_body(session, key, head.version) for head in feed.versions(session, key)]
        return [decode(body) for body in bodies if body is not None]

    return await world.storage.read(world.record_id, read)


async def narrow_from_a_phone(world: SharingWorld, grant_id: UUID, what: Narrowing) -> Grant:
    command = await world.sharing.prepare_narrow(await world.owner(), grant_id, what)
    return await carry_out(world.storage, world.record_id, command)


async def end_of(world: SharingWorld, grant: Grant) -> datetime:
    ends_at = (await world.sharing.one(world.record_id, grant.grant_id)).grant.ends_at
    assert ends_at is not None
    return ends_at


async def test_a_narrowed_grant_shows_less_from_that_moment(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live(shared=WIDE)
    shown = await world.sharing.narrow(await world.owner(), grant.grant_id, asked(shared=NARROW))
    assert (shown.state, shown.grant.version, shown.grant.slice) == ("active", LIVE + 1, NARROW)
    with pytest.raises(NotSignedIn) as refused:
        await authorise(world.storage, holder(world, answer), world.record_id)
    assert refused.value.error == "invalid_token"

    renewed = await world.exchange("access-grant", answer["grant"])
    authority = await authorise(world.storage, holder(world, renewed), world.record_id)
    assert (authority.slice, authority.grant_version) == (NARROW, LIVE + 1)
    assert renewed["ends_at"] == answer["ends_at"]


async def test_narrowing_is_one_version_of_the_consent_and_one_line(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live(shared=WIDE)
    before = await consents(world, grant)
    await world.sharing.narrow(await world.owner(), grant.grant_id, asked(shared=NARROW))
    after = await consents(world, grant)
    assert len(after) == len(before) + 1
    assert after[-1]["extension"] == [{"url": "urn:held:extension:grant-version", "valueInteger": LIVE + 1}]
    assert "Condition/2" in str(after[-1]["provision"])
    kind, sentence = (await lines(world))[-1]
    assert kind == "grant"
    assert sentence.startswith(
        "You reduced access for Dr Patel (GP, Beeston Practice). Dr Patel (GP, Beeston Practice) can see "
        "your current summary, and your medicines until "
    )
    assert sentence.endswith("Dr Patel cannot see the item you kept back.")
    told = (await world.exchange("access-grant", answer["grant"]))["sentence"]
    assert "kept back" not in told
    assert "HIV" not in told


async def test_a_look_under_way_does_not_outlive_the_narrowing(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live(shared=WIDE)
    authority = await authorise(world.storage, holder(world, answer), world.record_id)
    await world.sharing.narrow(await world.owner(), grant.grant_id, asked(shared=NARROW))
    entry = LogEntry(kind="read", who=authority.who, sentence="Dr Patel looked.", grant_id=grant.grant_id)
    with pytest.raises(AccessEnded):
        await audit.append(world.storage, world.record_id, entry, authority.still_live)


@pytest.mark.parametrize(
    ("shared", "pointer"),
    [
        (WIDER, "/slice"),
        (msgspec.structs.replace(WIDE, sensitive=("hiv", "genetics")), "/slice"),
        (msgspec.structs.replace(WIDE, add=("Observation/1", "Observation/2")), "/slice"),
        (Slice(categories=("gossip",)), "/slice"),
    ],
)
async def test_an_edit_that_would_show_more_is_refused(
    world: SharingWorld, shared: Slice, pointer: str
) -> None:
    grant, answer, _ = await world.grant_live(shared=WIDE)
    told = await lines(world)
    for refuses_stale in (True, False):
        command = await world.sharing.prepare_narrow(
            await world.owner(), grant.grant_id, asked(shared=shared), refuses_stale=refuses_stale
        )
        with pytest.raises(RuleBroken) as refused:
            await carry_out(world.storage, world.record_id, command)
        assert refused.value.pointer == pointer
    await authorise(world.storage, holder(world, answer), world.record_id)
    assert await lines(world) == told


async def test_an_end_that_is_later_or_past_is_not_a_narrowing(world: SharingWorld) -> None:
    grant, _, _ = await world.grant_live()
    owner, ends_at, now = await world.owner(), await end_of(world, grant), await world.now()
    for wrong in (ends_at + timedelta(seconds=1), now - timedelta(seconds=1)):
        with pytest.raises(RuleBroken) as refused:
            await world.sharing.narrow(owner, grant.grant_id, asked(ends_at=wrong))
        assert refused.value.pointer == "/ends_at"
    with pytest.raises(RuleBroken):
        await world.sharing.narrow(owner, grant.grant_id, asked())
    assert (await world.sharing.one(world.record_id, grant.grant_id)).grant.version == LIVE


async def test_asking_for_what_stands_changes_nothing(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live(shared=WIDE)
    told = await lines(world)
    same = asked(shared=WIDE, ends_at=await end_of(world, grant))
    shown = await world.sharing.narrow(await world.owner(), grant.grant_id, same)
    assert shown.grant.version == LIVE
    await narrow_from_a_phone(world, grant.grant_id, asked(1, WIDER))
    await authorise(world.storage, holder(world, answer), world.record_id)
    assert await lines(world) == told


async def test_a_shorter_end_holds_for_the_token_and_the_grant(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live(seconds=DAY)
    sooner = await world.now() + timedelta(seconds=600)
    shown = await world.sharing.narrow(await world.owner(), grant.grant_id, asked(ends_at=sooner))
    assert shown.grant.ends_at == sooner
    renewed = await world.exchange("access-grant", answer["grant"])
    await authorise(world.storage, holder(world, renewed), world.record_id)
    pass_time(world, seconds=600)
    with pytest.raises(NotSignedIn):
        await authorise(world.storage, holder(world, renewed), world.record_id)
    assert await world.refused("access-grant", answer["grant"]) == REFUSED


async def test_the_call_refuses_a_version_that_has_changed(world: SharingWorld) -> None:
    grant, _, _ = await world.grant_live(shared=WIDE)
    owner = await world.owner()
    await world.sharing.narrow(owner, grant.grant_id, asked(shared=NARROW))
    later = await end_of(world, grant) + timedelta(hours=1)
    for base in (LIVE - 1, LIVE, LIVE + 2):
        with pytest.raises(Stale):
            await world.sharing.narrow(owner, grant.grant_id, asked(base, Slice(current=False)))
        with pytest.raises(Stale):
            await world.sharing.extend(owner, grant.grant_id, base, later)
    assert (await world.sharing.one(world.record_id, grant.grant_id)).grant.version == LIVE + 1


async def test_a_phone_that_was_away_narrows_within_what_stands(world: SharingWorld) -> None:
    grant, _, _ = await world.grant_live(shared=WIDE)
    owner, ends_at = await world.owner(), await end_of(world, grant)
    sooner = ends_at - timedelta(hours=2)
    await world.sharing.narrow(owner, grant.grant_id, asked(shared=NARROW, ends_at=sooner))
    # The phone saw the first version: it takes medicines away, and leaves results in.
    away = Slice(categories=("results",), add=("Observation/1",), sensitive=("hiv",))
    narrowed = await narrow_from_a_phone(world, grant.grant_id, asked(LIVE, away, ends_at))
    assert narrowed.slice == Slice(categories=(), hide=("Condition/2",))
    assert (narrowed.ends_at, narrowed.version) == (sooner, LIVE + 2)


async def test_an_end_that_passed_on_the_way_ends_access_now(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live()
    await world.sharing.narrow(await world.owner(), grant.grant_id, asked(shared=Slice(hide=("Flag/1",))))
    passed = await world.now() - timedelta(hours=1)
    narrowed = await narrow_from_a_phone(world, grant.grant_id, asked(LIVE, None, passed))
    assert narrowed.ends_at is not None
    assert passed < narrowed.ends_at <= await world.now()
    assert (await world.sharing.one(world.record_id, grant.grant_id)).state == "expired"
    assert await world.refused("access-grant", answer["grant"]) == REFUSED
    receipt = await world.sharing.end(await world.owner(), grant.grant_id, None)
    assert receipt.effective_at > passed.isoformat()


async def test_more_names_than_a_slice_can_hold_are_not_kept(world: SharingWorld) -> None:
    many = tuple(f"Observation/{number}" for number in range(NAMED_ITEMS_MAX))
    grant, _, _ = await world.grant_live(shared=Slice(hide=many))
    other = Slice(hide=("Condition/1",))
    with pytest.raises(RuleBroken):
        await narrow_from_a_phone(world, grant.grant_id, asked(1, other))


async def test_an_offer_can_be_narrowed_before_it_is_used(world: SharingWorld) -> None:
    grant, offer = await world.offer(shared=WIDE, seconds=DAY)
    owner = await world.owner()
    cap = await world.now() + timedelta(hours=1)
    shown = await world.sharing.narrow(owner, grant.grant_id, asked(1, NARROW, cap))
    assert (shown.state, shown.grant.version, shown.grant.ends_at) == ("offered", 2, cap)
    assert " for 24 hours. Access will be over by " in (await lines(world))[-1][1]
    pending = await world.redeem(written(offer))
    narrower = Slice(current=False, categories=("medicines",), hide=("Condition/2",))
    await world.sharing.narrow(owner, grant.grant_id, asked(3, narrower))
    await world.sharing.allow(owner, grant.grant_id, pending.redemption_id, pending.match)
    answer = await world.exchange("redemption", str(pending.redemption_id))
    authority = await authorise(world.storage, holder(world, answer), world.record_id)
    assert authority.slice == narrower
    assert await end_of(world, grant) == cap


async def test_an_offer_ends_with_the_end_chosen_for_it(world: SharingWorld) -> None:
    grant, offer = await world.offer(offer_seconds=600)
    cap = await world.now() + timedelta(seconds=60)
    await world.sharing.narrow(await world.owner(), grant.grant_id, asked(1, None, cap))
    pass_time(world, seconds=60)
    assert await world.refused("offer-code", written(offer)) == REFUSED
    assert (await world.sharing.one(world.record_id, grant.grant_id)).state == "expired"


async def test_a_longer_end_keeps_the_slice_and_renews_tokens(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live(shared=NARROW)
    later = await end_of(world, grant) + timedelta(days=6)
    shown = await world.sharing.extend(await world.owner(), grant.grant_id, LIVE, later)
    assert (shown.grant.version, shown.grant.slice, shown.grant.ends_at) == (LIVE + 1, NARROW, later)
    with pytest.raises(NotSignedIn):
        await authorise(world.storage, holder(world, answer), world.record_id)
    renewed = await world.exchange("access-grant", answer["grant"])
    await authorise(world.storage, holder(world, renewed), world.record_id)
    kind, sentence = (await lines(world))[-1]
    assert (kind, sentence.partition(" Dr Patel (GP")[0]) == ("grant", "You gave")
    assert "more time." in sentence
    assert (await consents(world, grant))[-1]["provision"]["period"]["end"] == renewed["ends_at"]


@pytest.mark.parametrize(("ago", "may"), [(0, True), (299, True), (302, False), (86_400, False)])
async def test_extending_needs_a_sign_in_of_the_last_five_minutes(
    world: SharingWorld, ago: int, may: bool
) -> None:
    grant, _, _ = await world.grant_live()
    later = await end_of(world, grant) + timedelta(hours=1)
    owner = await world.owner(signed_in_ago=ago)
    if may:
        await world.sharing.extend(owner, grant.grant_id, LIVE, later)
        return
    with pytest.raises(StepUpNeeded):
        await world.sharing.extend(owner, grant.grant_id, LIVE, later)
    assert (await world.sharing.one(world.record_id, grant.grant_id)).grant.version == LIVE


async def test_narrowing_needs_no_recent_sign_in(world: SharingWorld) -> None:
    grant, _, _ = await world.grant_live(shared=WIDE)
    await world.sharing.narrow(await world.owner(signed_in_ago=86_400), grant.grant_id, asked(shared=NARROW))


async def test_access_lasts_at_most_a_year_from_when_it_was_used(world: SharingWorld) -> None:
    grant, _, _ = await world.grant_live()
    shown = await world.sharing.one(world.record_id, grant.grant_id)
    assert shown.grant.redeemed_at is not None
    owner, longest = await world.owner(), shown.grant.redeemed_at + timedelta(days=365)
    for wrong in (longest + timedelta(milliseconds=1), shown.grant.ends_at, await world.now()):
        assert wrong is not None
        with pytest.raises(RuleBroken) as refused:
            await world.sharing.extend(owner, grant.grant_id, LIVE, wrong)
        assert refused.value.pointer == "/ends_at"
    assert (await world.sharing.extend(owner, grant.grant_id, LIVE, longest)).grant.ends_at == longest


async def test_what_nobody_has_used_is_not_extended(world: SharingWorld) -> None:
    grant, _ = await world.offer()
    with pytest.raises(RuleBroken):
        await world.sharing.extend(
            await world.owner(), grant.grant_id, 1, await world.now() + timedelta(days=3)
        )


@pytest.mark.parametrize("over_by", ["ended", "expired", "rejected"])
async def test_what_is_over_is_neither_narrowed_nor_extended(world: SharingWorld, over_by: str) -> None:
    owner = await world.owner()
    if over_by == "rejected":
        grant, offer = await world.offer()
        pending = await world.redeem(written(offer), who=OKAFOR)
        await world.sharing.reject(owner, grant.grant_id, pending.redemption_id)
    else:
        grant, _, _ = await world.grant_live(seconds=60)
    if over_by == "ended":
        await world.sharing.end(owner, grant.grant_id, None)
    if over_by == "expired":
        pass_time(world, seconds=60)
    told, later = await lines(world), await world.now() + timedelta(days=1)
    stands = (await world.sharing.one(world.record_id, grant.grant_id)).grant
    for base in (stands.version, stands.version - 1):
        with pytest.raises(Conflict):
            await world.sharing.narrow(owner, grant.grant_id, asked(base, Slice(current=False)))
        with pytest.raises(Conflict):
            await world.sharing.extend(owner, grant.grant_id, base, later)
        # From a phone, showing less of what shows nothing is done already.
        assert await narrow_from_a_phone(world, grant.grant_id, asked(base, Slice(current=False))) == stands
    assert await lines(world) == told
    assert (await world.sharing.one(world.record_id, grant.grant_id)).state == over_by


async def test_a_grant_that_is_not_there_cannot_be_changed(world: SharingWorld) -> None:
    owner = await world.owner()
    with pytest.raises(NotFound):
        await world.sharing.narrow(owner, uuid4(), asked(shared=NARROW))
    with pytest.raises(NotFound):
        await world.sharing.extend(owner, uuid4(), 1, await world.now())
    assert await lines(world) == []


TERMS = Terms(to=Recipient(kind="open"), slice=Slice(), purpose="TREAT", seconds=60, offer_seconds=60)


async def test_an_offer_made_twice_under_one_id_is_one_offer(world: SharingWorld) -> None:
    owner, grant_id = await world.owner(), uuid4()
    made: list[Offered] = []
    for terms in (TERMS, msgspec.structs.replace(TERMS, slice=WIDE)):
        command = await world.sharing.prepare_offer(owner, terms, grant_id, await world.now())
        made.append(await carry_out(world.storage, world.record_id, command))
    first, again = made
    assert first.grant == again.grant
    assert first.grant.slice == TERMS.slice
    assert first.offer is not None
    assert again.offer is None
    assert b'"offer":' not in msgspec.json.encode(offered_view(again.grant, None, BASE_URL))
    assert len(await lines(world)) == 1
    assert await _names_taken(world) == 1
    await world.redeem(written(first.offer))


async def test_an_offer_made_again_after_its_end_stays_ended(world: SharingWorld) -> None:
    owner, grant_id = await world.owner(), uuid4()
    again = await world.sharing.prepare_offer(owner, TERMS, grant_id, await world.now())
    first = await world.sharing.prepare_offer(owner, TERMS, grant_id, await world.now())
    made = await carry_out(world.storage, world.record_id, first)
    await world.sharing.end(owner, grant_id, None)
    repeated = await carry_out(world.storage, world.record_id, again)
    assert (repeated.offer, repeated.grant.state) == (None, "ended")
    assert offered_view(repeated.grant, None, BASE_URL).state == "ended"
    assert await _names_taken(world) == 0
    assert made.offer is not None
    assert await world.refused("offer-code", written(made.offer)) == REFUSED


async def test_an_offer_that_came_to_nothing_frees_its_name(world: SharingWorld) -> None:
    command = await world.sharing.prepare_offer(await world.owner(), TERMS, uuid4(), await world.now())
    for _ in range(5):
        await world.offer()
    with pytest.raises(Conflict):
        await carry_out(world.storage, world.record_id, command._replace(run=_refuse))
    assert await _names_taken(world) == 5


async def test_an_id_that_leads_to_another_record_is_refused(world: SharingWorld) -> None:
    grant, _ = await world.offer()
    other = msgspec.structs.replace(await world.owner(), record_id=uuid4())
    with pytest.raises(Conflict):
        await world.sharing.prepare_offer(other, TERMS, grant.grant_id, await world.now())
    assert await _names_taken(world) == 1


def _refuse(session: ReadSession) -> Any:
    raise Conflict


async def _names_taken(world: SharingWorld) -> int:
    return await world.storage.look_up(
        lambda session: session.execute(sa.select(sa.func.count()).select_from(OfferRow)).scalar_one()
    )
