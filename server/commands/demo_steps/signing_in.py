"""Signing in: who gets a record, who gets nothing, and what the citizen finds there."""

import secrets
from uuid import uuid4

import msgspec

from server.commands.demo_citizens import as_citizen
from server.commands.demo_steps.journey import (
    CITIZEN,
    DOCTOR,
    UNPROVED,
    Journey,
    Resource,
    Step,
    must,
    must_be_invalid_grant,
    must_be_refused,
    name_of,
    next_link,
    resources_of,
)
from server.commands.held_client import HeldClient, Unexpected

TYPES = (
    "AllergyIntolerance",
    "Condition",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "Immunization",
    "List",
    "Location",
    "Medication",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Organization",
    "Practitioner",
    "Procedure",
    "Provenance",
)


def steps() -> list[Step]:
    """The steps, in order."""
    return [
        Step("George signs in and his record is his", _citizen_signs_in),
        Step("Tom, who never finished proving who he is, is turned away", _unproved_is_refused),
        Step("A sign-in works once, for the address and the key it was made for", _sign_in_works_once),
        Step("George sees all of his own record, each digit as his surgery wrote it", _sees_own_record),
        Step("Without signing in nobody gets anywhere", _nobody_without_sign_in),
        Step("Dr Adeyemi signs in, and sees nothing of anyone's", _professional_sees_nothing),
        Step("George cannot open Aisha's record either", _citizen_cannot_open_another),
    ]


def doors(record_id: str, patient_id: str, item_id: str) -> list[str]:
    """Every kind of address behind which something of a record lies."""
    record = f"/records/{record_id}"
    return [
        f"{record}/grants",
        f"{record}/grants/{uuid4()}",
        f"{record}/links",
        f"{record}/log",
        f"{record}/log/checkpoint",
        "/fhir/Condition",
        "/fhir/Observation?_count=5",
        f"/fhir/Condition/{item_id}",
        f"/fhir/Condition/{item_id}/_history",
        f"/fhir/Condition/{item_id}/_history/1",
        f"/fhir/Condition/{item_id}/$source",
        f"/fhir/Patient/{patient_id}",
        f"/fhir/Patient/{patient_id}/$everything",
    ]


async def _citizen_signs_in(journey: Journey) -> None:
    journey.citizen = await as_citizen(journey.door, journey.person)
    me = await journey.citizen.expect(200, "GET", "/me")
    records = {record["record_id"]: record["relation"] for record in me["records"]}
    must(records == {journey.person.record_id: "self"}, f"George's records are {records}")


async def _unproved_is_refused(journey: Journey) -> None:
    phone = msgspec.to_builtins(journey.demo.clients.phone)
    query = {
        "response_type": "code",
        "client_id": phone["client_id"],
        "redirect_uri": phone["redirect_uri"],
        "code_challenge": secrets.token_urlsafe(32),
        "code_challenge_method": "S256",
        "login_hint": UNPROVED,
    }
    answer = await journey.http.get(f"{journey.demo.base_url}/oauth/authorize", params=query)
    location: str = answer.headers.get("location", "")
    must("error=access_denied" in location, f"Tom was answered {answer.status_code} {location[:80]}")
    must("code=" not in location, "Tom was given a code")


async def _sign_in_works_once(journey: Journey) -> None:
    phone = msgspec.to_builtins(journey.demo.clients.phone)
    elsewhere = phone | {"redirect_uri": phone["redirect_uri"] + "/elsewhere"}
    client, thief = (HeldClient(journey.http, journey.demo.base_url) for _ in range(2))
    try:
        await client.sign_in_form(elsewhere, CITIZEN)
        must(False, "a sign-in was sent to an address nobody registered")
    except Unexpected as refused:
        status = refused.response.status_code
        must(status == 400, f"another address was answered {status}")
    form = await client.sign_in_form(phone, CITIZEN)
    signed_in = await client.token_request(form)
    must(signed_in.status_code == 200, f"a sign-in was answered {signed_in.status_code}")
    client.token = signed_in.json()["access_token"]
    refresh = {
        "grant_type": "refresh_token",
        "refresh_token": signed_in.json()["refresh_token"],
        "client_id": phone["client_id"],
    }
    must_be_invalid_grant(await thief.token_request(refresh), "a refresh token with another key")
    must_be_invalid_grant(await thief.token_request(form), "a sign-in code that was used before")
    must_be_refused(await client.call("GET", "/me"), "a sign-in whose code came twice", {401})
    must_be_invalid_grant(
        await client.token_request(refresh), "the refresh token of a sign-in that was ended"
    )


async def _sees_own_record(journey: Journey) -> None:
    for resource_type in TYPES:
        for resource in await _all_of(journey.citizen, f"/fhir/{resource_type}?_count=100"):
            journey.own[name_of(resource)] = resource
            for identifier in resource.get("identifier", []):
                journey.items[identifier.get("value", "")] = name_of(resource)
    must(len(journey.own) > 40, f"George sees only {len(journey.own)} items")
    patient = await journey.citizen.expect(200, "GET", f"/fhir/Patient/{journey.person.patient_id}")
    must(patient["birthDate"] == journey.person.birth_date, "George's date of birth is not his own")
    for name, digits in (("george-creatinine-2026-10", "101.00"), ("george-inr-2026-11", "2.40")):
        resource_type, logical_id = journey.item(name)
        answer = await journey.citizen.call("GET", f"/fhir/{resource_type}/{logical_id}")
        must(f'"value":{digits},' in answer.text, f"{name} no longer reads {digits}")


async def _all_of(client: HeldClient, path: str) -> list[Resource]:
    found: list[Resource] = []
    following: str | None = path
    while following is not None:
        page = await client.expect(200, "GET", following)
        found += resources_of(page)
        following = next_link(page)
    return found


async def _nobody_without_sign_in(journey: Journey) -> None:
    stranger = HeldClient(journey.http, journey.demo.base_url)
    _, item_id = journey.item("george-diabetes")
    for path in doors(journey.person.record_id, journey.person.patient_id, item_id):
        must_be_refused(await stranger.call("GET", path), f"GET {path} without a token", {401})
    for path in ("/me", "/extracts/links", f"/extracts/{uuid4()}"):
        must_be_refused(await stranger.call("GET", path), f"GET {path} without a token", {401})
    for path in ("grants", "links", "end-all"):
        answer = await stranger.call("POST", f"{journey.record}/{path}", json={})
        must_be_refused(answer, f"POST {path} without a token", {401})


async def _professional_sees_nothing(journey: Journey) -> None:
    journey.doctor = await journey.professional_client(DOCTOR)
    me = await journey.doctor.expect(200, "GET", "/me")
    must(me["kind"] == "professional" and me["records"] == [], f"Dr Adeyemi has {me['records']}")
    _, item_id = journey.item("george-diabetes")
    for path in doors(journey.person.record_id, journey.person.patient_id, item_id):
        must_be_refused(await journey.doctor.call("GET", path), f"GET {path} as Dr Adeyemi")


async def _citizen_cannot_open_another(journey: Journey) -> None:
    phone = msgspec.to_builtins(journey.demo.clients.phone)
    hers = journey.other_person.record_id
    try:
        await HeldClient(journey.http, journey.demo.base_url).sign_in(phone, CITIZEN, record_id=hers)
        must(False, "George was given a token when he asked for Aisha's record")
    except Unexpected as refused:
        must("access_token" not in refused.response.text, "George was given a token for Aisha's record")
    other = await as_citizen(journey.door, journey.other_person)
    found = await other.expect(200, "GET", "/fhir/Condition?_count=1")
    journey.others_item = name_of(resources_of(found)[0])
    for path in doors(
        journey.other_person.record_id, journey.other_person.patient_id, journey.others_item[1]
    ):
        if path.startswith("/fhir/Condition?") or path in {"/fhir/Condition", "/fhir/Observation?_count=5"}:
            continue
        must_be_refused(await journey.citizen.call("GET", path), f"GET {path} as George", {404})
