"""From an offer to a token: the code, the person who uses it, and the citizen's yes or no."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx

from server.commands.demo_steps.journey import (
    DOCTOR,
    GUESSER,
    PHARMACIST,
    REFUSED,
    RIVAL,
    Holder,
    Journey,
    Step,
    must,
    must_be_invalid_grant,
)
from server.commands.held_client import ACCESS_GRANT, OFFER_CODE, REDEMPTION, HeldClient

ACCESS_SECONDS = 3600
# Later than George's penicillin allergy, and than his oldest medicine.
MEDICINES_FROM = "2015"
# A problem, and the nurse who took his readings.
HIDDEN_ONE_BY_ONE = ("george-hypertension", "555000000007")
# Crockford's digits, of which a wrong code is made.
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def steps() -> list[Step]:
    """The steps, in order."""
    return [
        Step("George offers his current summary and medicines, without mental health", _offer),
        Step("A wrong code opens nothing", _wrong_code),
        Step("Dr Adeyemi uses the code, and has to wait for George's yes", _redeem),
        Step("George sees who is waiting, with the same two digits, and says yes", _confirm),
        Step("Dr Adeyemi gets a token that says what may be seen, and not what is kept back", _collect),
        Step("The code opens nothing a second time, for anyone", _code_is_spent),
        Step("Of two people using one code at once, one is put before George, who says no", _race),
        Step("A pharmacist gets a grant of her own: medicines and allergies of some years", _second_grant),
    ]


async def offer(journey: Journey, shared: dict[str, Any], to: dict[str, Any] | None = None) -> dict[str, Any]:
    """A new offer of George's."""
    body = {"to": to or {"open": True}, "slice": shared, "purpose": "TREAT", "seconds": ACCESS_SECONDS}
    offered = await journey.citizen.expect(201, "POST", f"{journey.record}/grants", json=body)
    journey.offered.append(offered["grant_id"])
    return offered


async def redeemed(journey: Journey, client: HeldClient, offered: dict[str, Any]) -> Holder:
    """The grant of an offer once it has been used and confirmed."""
    waiting = await client.exchange(offered["offer"]["code"], OFFER_CODE)
    await answer(journey, offered["grant_id"], allow=True)
    collected = await client.exchange(waiting.json()["redemption"], REDEMPTION)
    must(collected.status_code == 200, f"the token was answered {collected.status_code}")
    return _holder(client, collected)


async def answer(journey: Journey, grant_id: str, *, allow: bool) -> dict[str, Any]:
    """George's yes or no to whoever is waiting."""
    grant = await journey.citizen.expect(200, "GET", f"{journey.record}/grants/{grant_id}")
    pending = grant["pending"]
    body = {"redemption": pending["redemption"], "match": pending["match"], "allow": allow}
    return await journey.citizen.expect(200, "POST", f"{journey.record}/grants/{grant_id}/confirm", json=body)


async def _offer(journey: Journey) -> None:
    checkpoint = await journey.citizen.expect(200, "GET", f"{journey.record}/log/checkpoint")
    journey.entries_before = checkpoint["size"]
    shared = {
        "current": True,
        "categories": ["medicines"],
        "add": ["/".join(journey.item("george-problems"))],
        "hide": ["/".join(journey.item(name)) for name in HIDDEN_ONE_BY_ONE],
        "sensitive": [],
    }
    offered = await offer(journey, shared)
    must(offered["state"] == "offered", f"the offer is {offered['state']}")
    must("mental health" in offered["sentence"], "George is not told what is kept back")
    must("mental" not in offered["recipient_sentence"], "the recipient's sentence says what is kept back")
    journey.offer = offered
    journey.code = offered["offer"]["code"]


async def _wrong_code(journey: Journey) -> None:
    guesser = await journey.professional_client(GUESSER)
    plain = journey.code.replace("-", "")
    wrong = plain[:-1] + _DIGITS[(_DIGITS.index(plain[-1]) + 1) % len(_DIGITS)]
    must_be_invalid_grant(await guesser.exchange(wrong, OFFER_CODE), "a wrong code")
    must_be_invalid_grant(await guesser.exchange(str(uuid4()), REDEMPTION), "a redemption nobody has")
    must_be_invalid_grant(await guesser.exchange(journey.offer["grant_id"], ACCESS_GRANT), "an unused grant")
    grant = await journey.citizen.expect(200, "GET", f"{journey.record}/grants/{journey.offer['grant_id']}")
    must(grant["state"] == "offered", f"after a wrong code the offer is {grant['state']}")


async def _redeem(journey: Journey) -> None:
    waiting = await journey.doctor.exchange(journey.code, OFFER_CODE)
    _must_be_pending(waiting)
    journey.offer["redemption"] = waiting.json()["redemption"]
    journey.offer["match"] = waiting.json().get("match")
    _must_be_pending(await journey.doctor.exchange(journey.offer["redemption"], REDEMPTION))
    too_soon = await journey.doctor.exchange(journey.offer["grant_id"], ACCESS_GRANT)
    must_be_invalid_grant(too_soon, "a grant before George's yes")
    blocked = await journey.doctor.call("GET", "/fhir/Condition")
    must(blocked.status_code in REFUSED, f"before George's yes a search was answered {blocked.status_code}")


async def _confirm(journey: Journey) -> None:
    grant_id = journey.offer["grant_id"]
    grant = await journey.citizen.expect(200, "GET", f"{journey.record}/grants/{grant_id}")
    pending, doctor = grant["pending"], journey.professional(DOCTOR)
    must(pending["name"] == doctor.name, f"George is told {pending['name']} is waiting")
    must(pending["role"] == doctor.role, f"George is told the role is {pending['role']}")
    shown = journey.offer["match"]
    must(shown in (None, pending["match"]), f"George sees {pending['match']}, Dr Adeyemi {shown}")
    agreed = await answer(journey, grant_id, allow=True)
    must(agreed["state"] == "active", f"after George's yes the grant is {agreed['state']}")
    must(doctor.name in agreed["sentence"], "the grant's sentence does not name Dr Adeyemi")


async def _collect(journey: Journey) -> None:
    collected = await journey.doctor.exchange(journey.offer["redemption"], REDEMPTION)
    must(collected.status_code == 200, f"the token was answered {collected.status_code}")
    journey.holder = _holder(journey.doctor, collected)
    told = journey.holder.answer
    must(told["grant"] == journey.offer["grant_id"], "the token is for another grant")
    must(told["patient"] == journey.person.patient_id, "the token is for another patient")
    must(told["may_not_be_whole"] is True, "the reader is not told that this may not be everything")
    must("mental" not in collected.text, "the token's answer says what is kept back")


async def _code_is_spent(journey: Journey) -> None:
    must_be_invalid_grant(await journey.doctor.exchange(journey.code, OFFER_CODE), "the code used again")
    rival = await journey.professional_client(RIVAL)
    must_be_invalid_grant(await rival.exchange(journey.code, OFFER_CODE), "the code used by someone else")
    for kind, token in ((REDEMPTION, journey.offer["redemption"]), (ACCESS_GRANT, journey.offer["grant_id"])):
        must_be_invalid_grant(await rival.exchange(token, kind), "another person's redemption")


async def _race(journey: Journey) -> None:
    offered = await offer(journey, {"current": True})
    rivals = [await journey.professional_client(subject) for subject in (RIVAL, PHARMACIST)]
    tries = [client.exchange(offered["offer"]["code"], OFFER_CODE) for client in rivals for _ in range(4)]
    answers = await asyncio.gather(*tries)
    waiting = [one for one in answers if one.json().get("error") == "authorization_pending"]
    redemptions = {one.json()["redemption"] for one in waiting}
    must(len(redemptions) == 1, f"one code was used {len(redemptions)} times")
    for one in answers:
        if one not in waiting:
            must_be_invalid_grant(one, "a code someone else was using")
    refused = await answer(journey, offered["grant_id"], allow=False)
    must(refused["state"] == "rejected", f"after George's no the grant is {refused['state']}")
    for client in rivals:
        late = await client.exchange(redemptions.copy().pop(), REDEMPTION)
        must_be_invalid_grant(late, "a redemption George said no to")


async def _second_grant(journey: Journey) -> None:
    pharmacist = await journey.professional_client(PHARMACIST)
    to = {"professional": {"subject": PHARMACIST}}
    shared = {"current": False, "categories": ["medicines", "allergies"], "from": MEDICINES_FROM}
    offered = await offer(journey, shared, to)
    wrong_person = await (await journey.professional_client(RIVAL)).exchange(
        offered["offer"]["code"], OFFER_CODE
    )
    must_be_invalid_grant(wrong_person, "a code for someone else")
    journey.second_holder = await redeemed(journey, pharmacist, offered)


def _holder(client: HeldClient, collected: httpx.Response) -> Holder:
    told = collected.json()
    kind: str = told["token_type"]
    must(kind.lower() == "dpop", f"the token is a {kind} token")
    return Holder(client=client.with_token(told["access_token"]), grant_id=told["grant"], answer=told)


def _must_be_pending(response: httpx.Response) -> None:
    must(response.status_code == 400, f"before George's yes the answer is {response.status_code}")
    body = response.json()
    must(body["error"] == "authorization_pending", f"before George's yes the answer is {body['error']}")
    must("access_token" not in body, "a token was given before George's yes")
