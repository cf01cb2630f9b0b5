"""A stolen token is worth nothing without its key: what RFC 9449 asks the server to refuse."""

import time
from typing import Any

import httpx

from server.commands.demo_steps.journey import Journey, Step, must, must_be_refused
from server.commands.demo_steps.looking import disclosure, path_of
from server.commands.held_client import ACCESS_GRANT, HeldClient, ProofKey


def steps() -> list[Step]:
    """The steps, in order."""
    return [
        Step("The token as a plain Bearer token opens nothing", _bearer),
        Step("The token with anyone else's key opens nothing", _other_key),
        Step("A proof made for another call, address, token or time opens nothing", _wrong_proofs),
        Step("A proof that was used once opens nothing again", _replayed_proof),
        Step("Nobody else can renew Dr Adeyemi's access", _renewal_is_personal),
    ]


async def _bearer(journey: Journey) -> None:
    token = journey.holder.client.token
    answer = await _get(journey, {"Authorization": f"Bearer {token}"})
    must_be_refused(answer, "a Bearer token", {401})
    proof = journey.holder.client.key.proof("GET", _url(journey), token=token)
    answer = await _get(journey, {"Authorization": f"Bearer {token}", "DPoP": proof})
    must_be_refused(answer, "a Bearer token beside a proof", {401})
    answer = await _get(journey, {"Authorization": f"DPoP {token}"})
    must_be_refused(answer, "a token without a proof", {401})


async def _other_key(journey: Journey) -> None:
    token = journey.holder.client.token
    for key in (ProofKey(), journey.second_holder.client.key, journey.citizen.key):
        proof = key.proof("GET", _url(journey), token=token)
        answer = await _get(journey, {"Authorization": f"DPoP {token}", "DPoP": proof})
        must_be_refused(answer, "a proof by another key", {401})


async def _wrong_proofs(journey: Journey) -> None:
    client, url = journey.holder.client, _url(journey)
    token = client.token
    wrong: dict[str, str] = {
        "for another method": client.key.proof("POST", url, token=token),
        "for another address": client.key.proof("GET", f"{url}-other", token=token),
        "without the token": client.key.proof("GET", url),
        "for another token": client.key.proof("GET", url, token=journey.second_holder.client.token),
        "of ten minutes ago": client.key.proof("GET", url, token=token, iat=int(time.time()) - 600),
        "that is no proof": str(token),
    }
    for what, proof in wrong.items():
        answer = await _get(journey, {"Authorization": f"DPoP {token}", "DPoP": proof})
        must_be_refused(answer, f"a proof {what}", {401})


async def _replayed_proof(journey: Journey) -> None:
    client, url = journey.holder.client, _url(journey)
    headers = {
        "Authorization": f"DPoP {client.token}",
        "DPoP": client.key.proof("GET", url, token=client.token),
    }
    first = await _get(journey, headers)
    must(first.status_code == 200, f"a good proof was answered {first.status_code}")
    journey.holder.seen.append(disclosure(url, first))
    must_be_refused(await _get(journey, headers), "a proof used twice", {401})


async def _renewal_is_personal(journey: Journey) -> None:
    grant_id = journey.holder.grant_id
    same_person = await journey.professional_client("cis2:samuel-adeyemi")
    for client in (same_person, journey.second_holder.client):
        actor = same_person.token if client is same_person else None
        answer = await client.exchange(grant_id, ACCESS_GRANT, actor_token=actor)
        must(answer.status_code in {400, 401}, f"a renewal by another key was answered {answer.status_code}")
        must("access_token" not in answer.json(), "somebody else renewed Dr Adeyemi's access")
    renewed = await journey.doctor.exchange(grant_id, ACCESS_GRANT)
    must(renewed.status_code == 200, f"Dr Adeyemi's own renewal was answered {renewed.status_code}")
    told: dict[str, Any] = renewed.json()
    must(told["grant"] == grant_id, "the renewed token is for another grant")
    journey.holder.client = _with_token(journey.doctor, told["access_token"])


def _with_token(client: HeldClient, token: str) -> HeldClient:
    return client.with_token(token)


def _url(journey: Journey) -> str:
    return journey.demo.base_url + path_of(journey.item("george-diabetes"))


async def _get(journey: Journey, headers: dict[str, str]) -> httpx.Response:
    return await journey.http.get(_url(journey), headers=headers)
