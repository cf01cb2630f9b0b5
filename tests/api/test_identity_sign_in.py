"""Signing in: from an application, through a provider, to a token, to a call."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio

from server.identity.development_pages import development_app
from server.identity.development_provider import development_providers
from tests.api.identity_world import (
    ALEX,
    BASE_URL,
    PATEL,
    PEOPLE,
    SAM,
    UNPROVED,
    Sender,
    World,
    landed,
    open_world,
    registered_integrator,
)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened


async def test_citizen_signs_in_and_is_known(world: World) -> None:
    phone = Sender(world)
    answer = await phone.authorize(ALEX)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{BASE_URL}/app/signed-in?")
    assert answer.headers["cache-control"] == "no-store"
    assert landed(answer)["state"] == "state-of-the-app"
    assert landed(answer)["iss"] == BASE_URL
    tokens = (await phone.redeem(landed(answer)["code"])).json()
    assert (tokens["token_type"], tokens["expires_in"]) == ("DPoP", 300)
    assert "patient" not in tokens
    me = await phone.call(tokens["access_token"])
    assert me.status_code == 200, me.text
    record = world.records.known[ALEX.held_subject][0]
    assert me.json() == {
        "subject": "nhs-login:alex",
        "name": "Alex Green",
        "kind": "citizen",
        "records": [
            {
                "record_id": str(record.record_id),
                "patient_id": record.patient_id,
                "name": "Alex Green",
                "relation": "self",
            }
        ],
    }


async def test_professional_signs_in_through_the_portal(world: World) -> None:
    portal = Sender(world, "held-portal", "EdDSA")
    tokens = await portal.sign_in(PATEL)
    me = (await portal.call(tokens["access_token"])).json()
    assert me == {"subject": "cis2:555000000001", "name": "Asha Patel", "kind": "professional", "records": []}
    person = await world.identity.people.find("cis2:555000000001")
    assert person is not None
    assert (person.role_code, person.organisation) == ("R0260", "A81001")
    assert (await portal.call(tokens["access_token"], "/professionals")).status_code == 200


async def test_token_for_a_record_names_it(world: World) -> None:
    await Sender(world).sign_in(ALEX)
    record = world.records.known[ALEX.held_subject][0]
    at_authorize = await Sender(world).sign_in(ALEX, resource=world.resource(ALEX))
    phone = Sender(world)
    at_token = (await phone.redeem(await phone.code(ALEX), resource=world.resource(ALEX))).json()
    for tokens in (at_authorize, at_token):
        assert (tokens["record"], tokens["patient"]) == (str(record.record_id), record.patient_id)


@pytest.mark.parametrize("place", ["authorize", "token", "refresh"])
async def test_resource_that_is_not_the_citizens_is_refused(world: World, place: str) -> None:
    await Sender(world).sign_in(SAM)
    await Sender(world).sign_in(ALEX)
    nobodys = f"{BASE_URL}/records/00000000-0000-4000-8000-000000000000"
    for resource in (
        world.resource(SAM),
        nobodys,
        world.resource(ALEX).upper(),
        world.resource(ALEX) + "/",
        world.resource(ALEX).replace("held.test", "evil.test"),
        "records",
        f"{BASE_URL}/records/{{{world.records.record_of(ALEX)}}}",
    ):
        phone = Sender(world)
        if place == "authorize":
            assert landed(await phone.authorize(ALEX, resource=resource))["error"] == "invalid_target"
        elif place == "token":
            answer = await phone.redeem(await phone.code(ALEX), resource=resource)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
        else:
            refresh = (await phone.sign_in(ALEX))["refresh_token"]
            answer = await phone.refresh(refresh, resource=resource)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


async def test_professional_gets_no_record(world: World) -> None:
    await Sender(world).sign_in(ALEX)
    portal = Sender(world, "held-portal")
    assert landed(await portal.authorize(PATEL, resource=world.resource(ALEX)))["error"] == "invalid_target"


@pytest.mark.parametrize("person", UNPROVED, ids=["P5", "P0"])
async def test_citizen_below_p9_is_told_plainly_and_opens_nothing(world: World, person: object) -> None:
    answer = landed(await Sender(world).authorize(person))
    assert answer["error"] == "access_denied"
    assert answer["error_description"].startswith("Prove who you are to NHS login")
    assert "code" not in answer
    assert world.records.known == {}
    assert await world.identity.people.find(f"nhs-login:{person.subject}") is None


async def test_people_cannot_sign_in_where_they_do_not_belong(world: World) -> None:
    assert landed(await Sender(world, "held-phone").authorize(PATEL))["error"] == "access_denied"
    assert landed(await Sender(world, "held-portal").authorize(ALEX))["error"] == "access_denied"
    for hint in ("nobody", "nhs-login:nobody", "nhs-login:", ":alex", "elsewhere:alex"):
        assert landed(await Sender(world).authorize(None, login_hint=hint))["error"] == "access_denied"


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": None},
        {"client_id": "gp-system"},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.test/app/signed-in"},
        {"redirect_uri": f"{BASE_URL}/app/signed-in/"},
        {"redirect_uri": f"{BASE_URL}/app/signed-in?next=1"},
        {"redirect_uri": f"{BASE_URL}/app/signed-in#part"},
        {"redirect_uri": f"{BASE_URL}/APP/signed-in"},
        {"redirect_uri": f"{BASE_URL}/portal/signed-in"},
        {"state": "x" * 1025},
        {"unknown": "parameter"},
    ],
)
async def test_unregistered_application_or_address_is_never_redirected_to(
    world: World, changes: dict[str, str | None]
) -> None:
    await registered_integrator(world)
    answer = await Sender(world).authorize(ALEX, **changes)
    assert answer.status_code == 400
    assert "location" not in answer.headers


async def test_parameter_sent_twice_is_refused(world: World) -> None:
    address = (
        f"/oauth/authorize?client_id=held-phone&client_id=held-portal&redirect_uri={BASE_URL}/app/signed-in"
    )
    assert (await world.http.get(address)).status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "guess"}, "invalid_request"),
        ({"prompt": "none", "login_hint": None}, "login_required"),
        ({"scope": "system/*.cruds"}, "invalid_scope"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"dpop_jkt": "short"}, "invalid_request"),
        ({"provider": "cis2", "login_hint": None}, "access_denied"),
        ({"provider": "elsewhere", "login_hint": None}, "access_denied"),
    ],
)
async def test_other_refusals_go_back_to_the_application(
    world: World, changes: dict[str, str | None], error: str
) -> None:
    answer = await Sender(world).authorize(ALEX, **changes)
    assert answer.headers["location"].startswith(f"{BASE_URL}/app/signed-in?")
    assert landed(answer)["error"] == error
    assert (landed(answer)["state"], landed(answer)["iss"]) == ("state-of-the-app", BASE_URL)


async def test_login_hint_signs_nobody_in_outside_development(tmp_path: Path) -> None:
    async with open_world(tmp_path, is_development=False) as world:
        assert landed(await Sender(world).authorize(ALEX))["error"] == "invalid_request"
        assert world.records.known == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "x" * 43},
        {"code_verifier": None},
        {"code_verifier": "short"},
        {"client_id": "held-portal"},
        {"redirect_uri": f"{BASE_URL}/portal/signed-in"},
        {"redirect_uri": None},
    ],
)
async def test_code_is_only_for_whom_it_was_made_and_dies_at_a_wrong_try(
    world: World, changes: dict[str, str | None]
) -> None:
    phone = Sender(world)
    code = await phone.code(ALEX)
    refused = await phone.redeem(code, **changes)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (await phone.redeem(code)).status_code == 400


async def test_guessed_code_is_refused(world: World) -> None:
    for guess in ("held_ac_guess", "x", "x" * 5000):
        assert (await Sender(world).redeem(guess)).json()["error"] == "invalid_grant"


async def test_code_can_be_bound_to_a_key_from_the_start(world: World) -> None:
    phone, thief = Sender(world), Sender(world)
    thief.verifier = phone.verifier
    probe = (await phone.sign_in(ALEX))["access_token"]
    jkt = world.identity.parts.access_tokens.verify(probe, await world.identity.clock.now()).cnf.jkt
    assert (await thief.redeem(await phone.code(ALEX, dpop_jkt=jkt))).json()["error"] == "invalid_grant"
    assert (await phone.redeem(await phone.code(ALEX, dpop_jkt=jkt))).status_code == 200


@pytest.mark.parametrize(("seconds", "status"), [(59, 200), (61, 400)])
async def test_code_lives_a_minute(world: World, seconds: int, status: int) -> None:
    from datetime import timedelta

    phone = Sender(world)
    code = await phone.code(ALEX)
    world.storage.clock_offset = timedelta(seconds=seconds)
    assert (await phone.redeem(code)).status_code == status


async def test_fifty_uses_of_one_code_at_once_give_one_token(world: World) -> None:
    phone = Sender(world)
    code = await phone.code(ALEX)
    answers = await asyncio.gather(*(phone.redeem(code) for _ in range(50)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert {answer.json().get("error") for answer in answers} == {None, "invalid_grant"}
    assert (await phone.refresh(won[0]["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await phone.call(won[0]["access_token"])).status_code == 401


async def test_browser_goes_to_the_provider_and_back(world: World) -> None:
    phone = Sender(world)
    away = await phone.authorize(None)
    address = urlsplit(away.headers["location"])
    asked = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert address.path == "/development/providers/nhs-login/authorize"
    assert asked["vtr"] == '["P9.Cp.Cd","P9.Cp.Ck","P9.Cm"]'
    assert asked["redirect_uri"] == f"{BASE_URL}/oauth/callback"
    assert "alex" not in away.headers["location"]
    back = await _chosen(world, away, "alex")
    landed_at = await world.http.get(back)
    tokens = await phone.redeem(landed(landed_at)["code"])
    assert tokens.status_code == 200
    assert (await world.http.get(back)).status_code == 400


async def test_sign_in_brought_back_by_another_browser_is_refused(world: World) -> None:
    back = await _chosen(world, await Sender(world).authorize(None), "alex")
    world.http.cookies.clear()
    assert (await world.http.get(back)).status_code == 400


@pytest.mark.parametrize("query", ["", "?state=guess&code=guess", "?state=&code="])
async def test_callback_nobody_waits_for_is_refused(world: World, query: str) -> None:
    assert (await world.http.get(f"/oauth/callback{query}")).status_code == 400


async def test_person_who_turns_back_at_the_provider_is_sent_back_to_the_application(world: World) -> None:
    away = await Sender(world).authorize(None)
    state = parse_qs(urlsplit(away.headers["location"]).query)["state"][0]
    answer = await world.http.get("/oauth/callback", params={"state": state, "error": "access_denied"})
    assert landed(answer)["error"] == "access_denied"


async def test_answer_in_another_providers_name_is_refused(world: World) -> None:
    back = await _chosen(world, await Sender(world).authorize(None), "alex")
    issuer = "http%3A%2F%2Fheld.test%2Fdevelopment%2Fproviders%2Fnhs-login"
    assert issuer in back
    answer = await world.http.get(back.replace(issuer, "https%3A%2F%2Fevil.test"))
    assert landed(answer)["error"] == "access_denied"


async def _chosen(world: World, away: httpx.Response, subject: str) -> str:
    """Clicks on a person on the provider's page: the address the browser is sent back to."""
    outgoing = world.provider_http
    page = await outgoing.get(away.headers["location"])
    assert page.status_code == 200
    assert "Alex Green" in page.text
    chosen = await outgoing.get(away.headers["location"] + f"&login_hint={subject}")
    return chosen.headers["location"].removeprefix(BASE_URL)


async def test_development_provider_describes_itself() -> None:
    from datetime import UTC, datetime

    providers = development_providers(BASE_URL, PEOPLE, lambda: datetime.now(UTC))
    transport = httpx.ASGITransport(app=development_app(providers))
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as http:
        for kind, algorithm in (("nhs-login", "RS512"), ("cis2", "RS256")):
            root = f"/development/providers/{kind}"
            told = (await http.get(f"{root}/.well-known/openid-configuration")).json()
            assert told["issuer"] == BASE_URL + root
            assert told["id_token_signing_alg_values_supported"] == [algorithm]
            assert (await http.get(f"{root}/jwks")).json()["keys"][0]["alg"] == algorithm
            assert (await http.get(f"{root}/authorize")).status_code == 400
            assert (await http.post(f"{root}/token", data={"code": "guess"})).status_code == 400
            assert (await http.get(f"{root}/userinfo")).status_code == 400
