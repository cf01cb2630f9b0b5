"""Ending: a signed receipt of what was seen, and from that moment on nothing more."""

from typing import Any

import jwt

from server.commands.demo_steps.journey import (
    DOCTOR,
    REFUSED,
    Holder,
    Journey,
    Step,
    must,
    must_be_invalid_grant,
    must_be_refused,
)
from server.commands.demo_steps.logging_steps import log_of_play, must_match_log
from server.commands.demo_steps.looking import look, path_of
from server.commands.held_client import ACCESS_GRANT, OFFER_CODE, REDEMPTION

RECEIPT_ALGORITHMS = ["ES256", "ES384", "EdDSA", "RS256"]


def steps() -> list[Step]:
    """The steps, in order."""
    return [
        Step("George ends the access and gets a receipt of everything Dr Adeyemi saw", _end),
        Step("The receipt is signed with the keys Held publishes", _receipt_verifies),
        Step(
            "The next read is refused: item, search, page link, version tag, all of it", _next_read_is_refused
        ),
        Step("Neither the code nor the token can be used or renewed", _nothing_left_to_use),
        Step("The log has the ending, and nothing after it", _log_has_the_ending),
        Step("George ends everything else at once", _end_all),
    ]


async def _end(journey: Journey) -> None:
    path = f"{journey.record}/grants/{journey.holder.grant_id}/end"
    ended = await journey.citizen.expect(200, "POST", path, json={})
    journey.receipt = ended["receipt"]
    must(journey.receipt["grant_id"] == journey.holder.grant_id, "the receipt is for another grant")
    listed = {(item["type"], item["id"]) for item in journey.receipt["seen"]}
    seen = {item for disclosure in journey.holder.seen for item in disclosure.items}
    must(listed == seen, f"the receipt lists {len(listed)} items, and {len(seen)} were seen")
    must(journey.receipt["cannot_undo"] != "", "the receipt does not say what cannot be undone")
    grant = await journey.citizen.expect(200, "GET", f"{journey.record}/grants/{journey.holder.grant_id}")
    must(grant["state"] == "ended", f"the grant is {grant['state']}")


async def _receipt_verifies(journey: Journey) -> None:
    published = (await journey.http.get(f"{journey.demo.base_url}/.well-known/jwks.json")).json()
    signed: str = journey.receipt["jws"]
    kid = jwt.get_unverified_header(signed)["kid"]
    key = next((one for one in published["keys"] if one["kid"] == kid), None)
    must(key is not None, "the receipt names a key that is not published")
    must("d" not in (key or {}), "a private key is published")
    try:
        claims: dict[str, Any] = jwt.decode(signed, jwt.PyJWK(key or {}), algorithms=RECEIPT_ALGORITHMS)
    except jwt.InvalidTokenError as invalid:
        must(False, f"the receipt's signature does not hold: {invalid}")
        return
    said = {name: value for name, value in journey.receipt.items() if name != "jws"}
    must(claims["receipt"] == said, "what was signed is not what the receipt says")
    must(claims["iss"] == journey.demo.base_url, "the receipt is not from this server")


async def _next_read_is_refused(journey: Journey) -> None:
    holder = journey.holder
    already = len(holder.seen)
    problems = path_of(journey.item("george-problems"))
    paths = ("/fhir/Condition", path_of(journey.item("george-diabetes")), problems, journey.page_link)
    for path in paths:
        for method in ("GET", "HEAD"):
            answer = await look(holder, path, method=method)
            must_be_refused(answer, f"{method} {path} after the end")
    for tag in ('W/"1"', "*"):
        answer = await look(holder, problems, headers={"If-None-Match": tag})
        must_be_refused(answer, "a version tag after the end")
    answer = await look(holder, f"{problems}/_history")
    must_be_refused(answer, "the history after the end")
    must(len(holder.seen) == already, "something was shown after the end")


async def _nothing_left_to_use(journey: Journey) -> None:
    doctor = await journey.professional_client(DOCTOR)
    for client in (journey.doctor, doctor):
        must_be_invalid_grant(await client.exchange(journey.code, OFFER_CODE), "the code after the end")
        grant = await client.exchange(journey.holder.grant_id, ACCESS_GRANT)
        must_be_invalid_grant(grant, "a renewal after the end")
        waiting = await client.exchange(journey.offer["redemption"], REDEMPTION)
        must_be_invalid_grant(waiting, "the redemption after the end")
    form = {"token": journey.holder.client.token or ""}
    answer = await journey.holder.client.call("POST", "/oauth/introspect", data=form)
    is_active = answer.status_code == 200 and answer.json().get("active") is True
    must(not is_active, "introspection says that an ended access lives")


async def _log_has_the_ending(journey: Journey) -> None:
    await must_match_log(journey, journey.holder)
    entries = await log_of_play(journey)
    of_grant = [entry for entry in entries if entry.get("grant_id") == journey.holder.grant_id]
    kinds = [entry["kind"] for entry in of_grant]
    must("end" in kinds, "the log does not have the ending")
    after = set(kinds[kinds.index("end") + 1 :]) & {"read", "search", "history"}
    must(not after, f"after the ending the log has {sorted(after)}")


async def _end_all(journey: Journey) -> None:
    ended = await journey.citizen.expect(200, "POST", f"{journey.record}/end-all", json={})
    receipts = {receipt["grant_id"] for receipt in ended["receipts"]}
    must(journey.second_holder.grant_id in receipts, "ending everything left the pharmacist's access")
    await _must_be_over(journey, journey.second_holder)
    listed = await journey.citizen.expect(200, "GET", f"{journey.record}/grants")
    live = {
        grant["grant_id"] for grant in listed["grants"] if grant["state"] in {"offered", "pending", "active"}
    }
    must(not live, f"{len(live)} grants are still alive")


async def _must_be_over(journey: Journey, holder: Holder) -> None:
    answer = await look(holder, path_of(journey.item("george-warfarin")))
    must(answer.status_code in REFUSED, f"the pharmacist's read was answered {answer.status_code}")
    await must_match_log(journey, holder)
