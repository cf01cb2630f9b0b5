"""Redeeming: who gets what, who gets the one refusal, every limit at, below and above; on both databases."""

from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from server.errors import BadRequest, OAuthError
from server.identity.people import put_person
from server.identity.token_endpoint import ExchangeRequest
from server.sharing import codes, offers
from server.sharing.grant import Recipient
from server.storage.directory_sharing import (
    GUESSES_OVERALL_PER_HOUR,
    GUESSES_PER_DAY,
    GUESSES_PER_HOUR,
    GUESSES_PER_OFFER,
    NewOffer,
    add_offer,
    add_pointer,
)
from server.storage.engine import Storage
from server.storage.session import DirectorySession
from tests.contract.sharing_world import CITIZEN, OKAFOR, PATEL, REFUSED, SharingWorld, written

UNKNOWN_NAME = "ZZZZ-ZZZZZZ"


@pytest_asyncio.fixture
async def world(storage: Storage) -> SharingWorld:
    return await SharingWorld(storage).begin()


def pass_time(world: SharingWorld, **passed: int) -> None:
    world.storage.clock_offset += timedelta(**passed)


def wrong_secret(code: str) -> str:
    return code[:-1] + ("0" if code[-1] != "0" else "1")


@pytest.mark.parametrize("form", ["typed", "spoken by someone", "link", "whole link"])
async def test_every_form_of_a_code_opens_the_offer(world: SharingWorld, form: str) -> None:
    _, offer = await world.offer()
    code = {
        "typed": written(offer),
        "spoken by someone": " ".join(written(offer).lower().replace("0", "o").replace("1", "l")),
        "link": codes.written(offer.link),
        "whole link": f"https://held.example.org/redeem#{codes.written(offer.link)}",
    }[form]
    await world.redeem(code)


async def test_a_code_works_once(world: SharingWorld) -> None:
    _, offer = await world.offer()
    await world.redeem(written(offer))
    assert await world.refused("offer-code", written(offer)) == REFUSED
    assert await world.refused("offer-code", codes.written(offer.link)) == REFUSED
    assert await world.refused("offer-code", written(offer), who=OKAFOR, jkt="okafor-key") == REFUSED


async def test_a_lost_answer_can_be_asked_for_again_by_the_same_operation(world: SharingWorld) -> None:
    _, offer = await world.offer()
    first = await world.redeem(written(offer), operation_id="op-1")
    assert await world.redeem(written(offer), operation_id="op-1") == first
    assert await world.refused("offer-code", written(offer), operation_id="op-2") == REFUSED
    assert await world.refused("offer-code", written(offer), operation_id="op-1", jkt="other") == REFUSED
    assert await world.refused("offer-code", written(offer), operation_id="op-1", who=OKAFOR) == REFUSED
    assert await world.refused("offer-code", written(offer), operation_id="x" * 65) == REFUSED
    pass_time(world, seconds=60)
    assert await world.refused("offer-code", written(offer), operation_id="op-1") == REFUSED


async def test_every_refusal_of_a_code_is_the_same(world: SharingWorld) -> None:
    _, offer = await world.offer()
    to_okafor = Recipient(kind="professional", subject=OKAFOR.subject)
    _, for_another = await world.offer(to=to_okafor)
    ended, for_ended = await world.offer()
    await world.sharing.end(await world.owner(), ended.grant_id, None)
    refused = [
        await world.refused("offer-code", "not a code"),
        await world.refused("offer-code", UNKNOWN_NAME),
        await world.refused("offer-code", wrong_secret(written(offer))),
        await world.refused("offer-code", written(for_another)),
        await world.refused("offer-code", written(for_ended)),
        await world.refused("offer-code", written(offer), who=CITIZEN),
        await world.refused("redemption", str(uuid4())),
        await world.refused("redemption", "not-an-id"),
        await world.refused("access-grant", str(uuid4())),
        await world.refused("access-grant", str(ended.grant_id)),
    ]
    pass_time(world, seconds=600)
    refused.append(await world.refused("offer-code", written(offer), who=OKAFOR))
    assert refused == [REFUSED] * len(refused)


async def test_a_professional_who_never_signed_in_gets_the_refusal(world: SharingWorld) -> None:
    _, offer = await world.offer()
    stranger = msgspec.structs.replace(PATEL, subject="cis2:stranger")
    assert await world.refused("offer-code", written(offer), who=stranger) == REFUSED
    await world.redeem(written(offer))


@pytest.mark.parametrize(
    "to",
    [
        Recipient(kind="professional", subject=PATEL.subject),
        Recipient(kind="role", role_code="R0260", organisation="B86001"),
    ],
)
async def test_an_addressed_code_opens_for_whom_it_is_addressed_to(
    world: SharingWorld, to: Recipient
) -> None:
    grant, offer = await world.offer(to=to, offer_seconds=21 * 86_400)
    assert await world.refused("offer-code", written(offer), who=OKAFOR) == REFUSED
    pass_time(world, days=20)
    pending = await world.redeem(written(offer))
    await world.sharing.allow(await world.owner(), grant.grant_id, pending.redemption_id, pending.match)
    await world.exchange("redemption", str(pending.redemption_id))


@pytest.mark.parametrize(("wrong", "opens"), [(GUESSES_PER_OFFER - 1, True), (GUESSES_PER_OFFER, False)])
async def test_five_wrong_secrets_kill_an_offer(world: SharingWorld, wrong: int, opens: bool) -> None:
    _, offer = await world.offer()
    for _ in range(wrong):
        assert await world.refused("offer-code", wrong_secret(written(offer)), who=OKAFOR) == REFUSED
    if opens:
        await world.redeem(written(offer))
    else:
        assert await world.refused("offer-code", written(offer)) == REFUSED


async def test_five_wrong_persons_kill_an_offer(world: SharingWorld) -> None:
    _, offer = await world.offer(to=Recipient(kind="professional", subject=PATEL.subject))
    for _ in range(GUESSES_PER_OFFER):
        assert await world.refused("offer-code", written(offer), who=OKAFOR) == REFUSED
    assert await world.refused("offer-code", written(offer)) == REFUSED


@pytest.mark.parametrize(("wrong", "opens"), [(GUESSES_PER_HOUR - 1, True), (GUESSES_PER_HOUR, False)])
async def test_a_professional_may_guess_five_times_an_hour(
    world: SharingWorld, wrong: int, opens: bool
) -> None:
    await at_the_start_of_a_day(world)
    for number in range(wrong):
        assert await world.refused("offer-code", f"ZZ{number:02}-ZZZZZZ") == REFUSED
    _, offer = await world.offer()
    if opens:
        await world.redeem(written(offer))
        return
    assert await world.refused("offer-code", written(offer)) == REFUSED
    pass_time(world, hours=1)
    _, later = await world.offer()
    await world.redeem(written(later))


async def test_a_professional_may_guess_twenty_times_a_day(world: SharingWorld) -> None:
    await at_the_start_of_a_day(world)
    for number in range(GUESSES_PER_DAY):
        assert await world.refused("offer-code", f"ZZ{number:02}-ZZZZZZ") == REFUSED
        if number % GUESSES_PER_HOUR == GUESSES_PER_HOUR - 1:
            pass_time(world, hours=1)
    _, offer = await world.offer()
    assert await world.refused("offer-code", written(offer)) == REFUSED
    pass_time(world, hours=24 - GUESSES_PER_DAY // GUESSES_PER_HOUR)
    _, later = await world.offer()
    await world.redeem(written(later))


async def test_right_codes_cost_no_guesses(world: SharingWorld) -> None:
    await at_the_start_of_a_day(world)
    for _ in range(GUESSES_PER_HOUR + 1):
        grant, offer = await world.offer()
        await world.redeem(written(offer))
        assert await world.refused("offer-code", written(offer)) == REFUSED
        await world.sharing.end(await world.owner(), grant.grant_id, None)


@pytest.mark.parametrize(
    ("wrong", "opens"), [(GUESSES_OVERALL_PER_HOUR - 1, True), (GUESSES_OVERALL_PER_HOUR, False)]
)
async def test_a_thousand_wrong_guesses_an_hour_stop_all_redeeming(
    world: SharingWorld, wrong: int, opens: bool
) -> None:
    await at_the_start_of_a_day(world)
    await world.count_wrong_guesses(wrong)
    _, offer = await world.offer()
    if opens:
        await world.redeem(written(offer))
    else:
        assert await world.refused("offer-code", written(offer)) == REFUSED


@pytest.mark.parametrize(
    ("who", "jkt"), [(OKAFOR, "patel-key"), (PATEL, "another-key"), (OKAFOR, "okafor-key")]
)
async def test_a_redemption_answers_only_the_one_who_made_it(
    world: SharingWorld, who: object, jkt: str
) -> None:
    grant, offer = await world.offer()
    pending = await world.redeem(written(offer))
    waiting = str(pending.redemption_id)
    assert await world.refused("redemption", waiting, who=who, jkt=jkt) == REFUSED
    await world.sharing.allow(await world.owner(), grant.grant_id, pending.redemption_id, pending.match)
    assert await world.refused("redemption", waiting, who=who, jkt=jkt) == REFUSED
    assert await world.refused("access-grant", str(grant.grant_id), who=who, jkt=jkt) == REFUSED
    await world.exchange("redemption", waiting)


async def test_a_no_is_a_refusal_like_any_other(world: SharingWorld) -> None:
    grant, offer = await world.offer()
    pending = await world.redeem(written(offer))
    await world.sharing.reject(await world.owner(), grant.grant_id, pending.redemption_id)
    assert await world.refused("redemption", str(pending.redemption_id)) == REFUSED
    assert await world.refused("access-grant", str(grant.grant_id)) == REFUSED


async def test_a_question_nobody_answers_runs_out(world: SharingWorld) -> None:
    _, offer = await world.offer()
    pending = await world.redeem(written(offer))
    pass_time(world, seconds=600)
    assert await world.refused("redemption", str(pending.redemption_id)) == REFUSED


async def test_a_token_is_collected_once_and_again_for_a_minute(world: SharingWorld) -> None:
    _, answer, pending = await world.grant_live()
    again = await world.exchange("redemption", str(pending.redemption_id))
    told = ("grant", "grant_version", "patient", "sentence", "ends_at", "scope", "needs", "may_not_be_whole")
    assert {name: again[name] for name in told} == {name: answer[name] for name in told}
    pass_time(world, seconds=60)
    assert await world.refused("redemption", str(pending.redemption_id)) == REFUSED
    renewed = await world.exchange("access-grant", answer["grant"])
    assert renewed["grant_version"] == answer["grant_version"]


async def test_a_token_is_renewed_while_the_grant_lives(world: SharingWorld) -> None:
    _, answer, _ = await world.grant_live(seconds=3_600)
    pass_time(world, seconds=3_590)
    renewed = await world.exchange("access-grant", answer["grant"])
    assert 1 <= renewed["expires_in"] <= 10
    pass_time(world, seconds=10)
    assert await world.refused("access-grant", answer["grant"]) == REFUSED


async def test_the_answer_is_the_one_the_api_page_names(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live()
    assert answer["token_type"] == "DPoP"
    assert answer["expires_in"] == 300
    assert answer["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert answer["scope"] == "patient/*.rs"
    assert answer["patient"] == world.patient_id
    assert answer["grant"] == str(grant.grant_id)
    assert answer["grant_version"] == 3
    assert answer["needs"] == []
    assert answer["may_not_be_whole"] is True
    assert answer["ends_at"].endswith("Z")


async def test_a_name_that_leads_nowhere_is_a_refusal_like_any_other(world: SharingWorld) -> None:
    ended, _, _ = await world.grant_live()
    await world.sharing.end(await world.owner(), ended.grant_id, None)
    lost = uuid4()
    leads_to = {
        "0001": (uuid4(), uuid4()),
        "0002": (world.record_id, uuid4()),
        "0003": (world.record_id, ended.grant_id),
    }

    def enter(session: DirectorySession) -> None:
        add_pointer(session, lost, uuid4())
        for name, (record_id, grant_id) in leads_to.items():
            offer = NewOffer(
                name=name,
                typed_secret="000000",
                link_secret="x",
                record_id=record_id,
                grant_id=grant_id,
                seconds=600,
            )
            assert add_offer(session, offer) is not None

    await world.storage.register(enter)
    for name in leads_to:
        assert await world.refused("offer-code", f"{name}-000000") == REFUSED
    for kind in ("redemption", "access-grant"):
        assert await world.refused(kind, str(lost)) == REFUSED


async def test_a_grant_is_not_a_redemption_nor_a_redemption_a_grant(world: SharingWorld) -> None:
    grant, _, pending = await world.grant_live()
    assert await world.refused("redemption", str(grant.grant_id)) == REFUSED
    assert await world.refused("access-grant", str(pending.redemption_id)) == REFUSED


async def test_a_professional_without_a_role_uses_an_open_code(world: SharingWorld) -> None:
    locum = msgspec.structs.replace(PATEL, subject="cis2:locum", role_code=None, role=None, organisation=None)
    await world.storage.register(lambda session: put_person(session, locum))
    grant, offer = await world.offer()
    await world.redeem(written(offer), who=locum)
    shown = await world.sharing.one(world.record_id, grant.grant_id)
    assert shown.waiting is not None
    assert shown.waiting.redeemer.role == ""


async def test_an_offer_whose_name_is_taken_is_not_entered(world: SharingWorld) -> None:
    _, taken = await world.offer()

    def enter(session: DirectorySession) -> object:
        new_grant = (world.record_id, uuid4())
        return offers.enter_offer(session, taken, new_grant, to=Recipient(kind="open"), seconds=60)

    assert await world.storage.register(enter) is None


async def test_a_scope_narrows_the_token(world: SharingWorld) -> None:
    _, answer, _ = await world.grant_live()
    narrowed = await world.exchange("access-grant", answer["grant"], scope="patient/Observation.rs openid")
    claims = world.access_tokens.verify(narrowed["access_token"], await world.now())
    assert narrowed["scope"] == claims.scope == "patient/Observation.rs"
    error, _, _ = await world.refused("access-grant", answer["grant"], scope="user/*.rs")
    assert error == "invalid_scope"


async def test_a_token_type_we_do_not_know_is_an_invalid_request(world: SharingWorld) -> None:
    assert (await world.refused("something-else", "x"))[0] == "invalid_request"
    with pytest.raises(OAuthError) as missing:
        await world.redeeming.exchange(await _empty(world))
    assert missing.value.error == "invalid_request"
    assert not isinstance(missing.value, BadRequest)


async def _empty(world: SharingWorld) -> ExchangeRequest:
    now = await world.now()
    principal = await world.citizen()
    return ExchangeRequest(
        form={}, actor=principal, jkt="x", session_id=None, now=now, issue=lambda access: ""
    )


async def at_the_start_of_a_day(world: SharingWorld) -> None:
    """Guesses are counted by the clock's hour and day."""
    now = await world.now()
    tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=1, second=0, microsecond=0)
    world.storage.clock_offset += tomorrow - now
