"""What a grant opens, and above all what it does not: by class, by item, by category, by record, by page."""

from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx

from server.commands.demo_steps.extracts import CANONICAL_WORDS, HIDDEN_AGE, HIDDEN_NOTE, send_hidden
from server.commands.demo_steps.journey import (
    ItemName,
    Journey,
    Step,
    holds_resource,
    must,
    must_be_refused,
    name_of,
    next_link,
    references_in,
    resources_of,
)
from server.commands.demo_steps.looking import found_by, look, look_for, pages, path_of
from server.commands.demo_steps.offering import HIDDEN_ONE_BY_ONE
from server.commands.demo_steps.signing_in import doors

VISIBLE_PROBLEMS = ("george-diabetes", "george-copd", "george-af")
# The last is a service whose very name tells, and which a blood pressure refers to.
HIDDEN_BY_CLASS = ("george-low-mood", "george-sertraline", HIDDEN_NOTE, "ZHD05")
SEARCHED = (
    "Condition",
    "List",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Organization",
    "Practitioner",
    "Provenance",
)
OTHER_CATEGORIES = ("DocumentReference", "Encounter", "Immunization", "Procedure")
OWNERS_ALONE = ("Consent", "AuditEvent", "Task", "Communication")
SEARCH_WITH_MEDICINES = "/fhir/MedicationRequest?_include=MedicationRequest:medication"


def steps() -> list[Step]:
    """The steps, in order."""
    return [
        Step("Dr Adeyemi reads George's problems, medicines, allergies and results", _sees_the_slice),
        Step("What George keeps back might as well not exist", _hidden_does_not_exist),
        Step("No list, reference or count gives away that it does", _nothing_points_at_it),
        Step("Dr Adeyemi cannot read another category, nor what is George's alone", _other_categories),
        Step("Nor an address or telephone number, George's or anyone's", _no_contact_details),
        Step("Pages and included items stay inside what is shared", _pages_and_includes),
        Step("The token opens nobody else's record, and none of George's own pages", _other_records),
        Step("A reader's version tag is their own, and saves them no entry in the log", _version_tags),
        Step("When something kept back changes, not one byte changes for Dr Adeyemi", _two_worlds),
        Step("The pharmacist cannot follow Dr Adeyemi's page link", _page_link_is_personal),
    ]


async def _sees_the_slice(journey: Journey) -> None:
    holder = journey.holder
    problems = await found_by(holder, "/fhir/Condition")
    seen = {name_of(problem) for problem in problems} & journey.sent_by_demo
    must(seen == {journey.item(name) for name in VISIBLE_PROBLEMS}, f"Dr Adeyemi sees {len(seen)} problems")
    allergies = {name_of(one) for one in await found_by(holder, "/fhir/AllergyIntolerance")}
    must(journey.item("george-penicillin") in allergies, "the penicillin allergy is missing")
    results = {name_of(one) for one in await found_by(holder, "/fhir/Observation?category=laboratory")}
    must(journey.item("george-hba1c-2026-10") in results, "the newest HbA1c is missing")
    must(journey.item("george-hba1c-2024-10") not in results, "a result of two years ago is shown as current")
    coded = await look_for(holder, "/fhir/Observation?code=http://loinc.org|6301-6&_sort=-date")
    taken = [datetime.fromisoformat(one["effectiveDateTime"]) for one in resources_of(coded)]
    must(len(taken) >= 2 and taken == sorted(taken, reverse=True), "the newest INR is not first")
    newest = await look(holder, path_of(journey.item("george-inr-2026-11")))
    must('"value":2.40,' in newest.text, "the INR no longer reads 2.40")


async def _hidden_does_not_exist(journey: Journey) -> None:
    for name in (*HIDDEN_BY_CLASS, *HIDDEN_ONE_BY_ONE):
        resource_type, logical_id = journey.item(name)
        for rest in ("", "/_history", "/_history/1"):
            hidden = await look(journey.holder, f"/fhir/{resource_type}/{logical_id}{rest}")
            missing_id = str(uuid4())
            missing = await look(journey.holder, f"/fhir/{resource_type}/{missing_id}{rest}")
            must_be_refused(hidden, f"{name}{rest}", {404})
            must(logical_id not in hidden.text, f"the refusal of {name}{rest} says its id back")
            must(
                _face(hidden, logical_id) == _face(missing, missing_id),
                f"{name}{rest} is refused in other words than an item that never was",
            )
        head = await look(journey.holder, f"/fhir/{resource_type}/{logical_id}", method="HEAD")
        must(head.status_code in {404, 405}, f"HEAD {name} was answered {head.status_code}")
    found = await look_for(journey.holder, f"/fhir/Condition?_id={journey.item('george-low-mood')[1]}")
    must(not resources_of(found), "a search by id finds a hidden problem")


async def _nothing_points_at_it(journey: Journey) -> None:
    hidden = {"/".join(journey.item(name)) for name in (*HIDDEN_BY_CLASS, *HIDDEN_ONE_BY_ONE)}
    for resource_type in SEARCHED:
        for page in [page async for page in pages(journey.holder, f"/fhir/{resource_type}")]:
            must("total" not in page, f"a search of {resource_type} counts")
            for resource in resources_of(page):
                shown = references_in(resource) & hidden
                must(not shown, f"{'/'.join(name_of(resource))} points at something hidden")
    cut = await look_for(journey.holder, path_of(journey.item("george-amlodipine")))
    must(not {"reasonReference", "text"} & cut.keys(), "a prescription says why, although that is hidden")
    await _nothing_tells_of_it(journey, hidden)
    problems = await look_for(journey.holder, path_of(journey.item("george-problems")))
    listed = {entry["item"]["reference"] for entry in problems["entry"]}
    wanted = {"/".join(journey.item(name)) for name in VISIBLE_PROBLEMS}
    must(listed == wanted, f"George's problem list shows {len(listed)} problems")
    must("versionId" not in problems.get("meta", {}), "a list that was cut tells its version")


async def _nothing_tells_of_it(journey: Journey, hidden: set[str]) -> None:
    for provenance in await found_by(journey.holder, "/fhir/Provenance"):
        told = references_in(journey.own[name_of(provenance)]["target"])
        must(not told & hidden, "a Provenance of something hidden is shown")
    encounter = journey.own[journey.item("george-copd")]["encounter"]["reference"]
    by_encounter = await found_by(journey.holder, f"/fhir/Condition?encounter={encounter}")
    must(not by_encounter, "a search finds a problem by a consultation that is not shared")


async def _no_contact_details(journey: Journey) -> None:
    patient = await look_for(journey.holder, f"/fhir/Patient/{journey.person.patient_id}")
    must(bool(patient["name"]), "Dr Adeyemi cannot see whose record it is")
    shown = [patient]
    for resource_type in ("Organization", "Practitioner"):
        shown += await found_by(journey.holder, f"/fhir/{resource_type}")
    for resource in shown:
        details = {"address", "telecom"} & resource.keys()
        must(not details, f"{resource['resourceType']} shows {sorted(details)}")


async def _other_categories(journey: Journey) -> None:
    for resource_type in (*OTHER_CATEGORIES, *OWNERS_ALONE):
        answer = await look(journey.holder, f"/fhir/{resource_type}")
        if answer.status_code == 200:
            must(not resources_of(answer.json()), f"a search of {resource_type} finds something")
        else:
            must_be_refused(answer, f"a search of {resource_type}", {404})
    # A ward that only a consultation refers to is as far away as the consultation.
    for resource_type, logical_id in (*_own_of(journey, OTHER_CATEGORIES), journey.item("george-h-site")):
        answer = await look(journey.holder, f"/fhir/{resource_type}/{logical_id}")
        must_be_refused(answer, f"{resource_type} of another category", {404})


async def _pages_and_includes(journey: Journey) -> None:
    sertraline = {journey.item("george-sertraline")}
    hidden_medicine = _medication_of(journey, "george-sertraline")
    matched: set[ItemName] = set()
    included: set[ItemName] = set()
    async for page in pages(journey.holder, f"{SEARCH_WITH_MEDICINES}&_count=2"):
        journey.page_link = journey.page_link or next_link(page) or ""
        entries = page.get("entry", [])
        matched |= {name_of(entry["resource"]) for entry in entries if entry["search"]["mode"] == "match"}
        included |= {name_of(entry["resource"]) for entry in entries if entry["search"]["mode"] == "include"}
    must(journey.page_link != "", "there is no second page")
    expected = {name for name in journey.sent_by_demo if name[0] == "MedicationRequest"} - sertraline
    must(expected <= matched, f"the pages show {len(matched)} of {len(expected)} prescriptions")
    must(not matched & sertraline, "the pages show the hidden prescription")
    must(hidden_medicine not in included, "an included medicine gives the hidden prescription away")
    wanted = {_medication(journey, name) for name in expected}
    must(wanted <= included, "the included medicines are not whole")
    for query in ("Condition?_include=Condition:encounter", "Observation?_include=Observation:encounter"):
        found = await found_by(journey.holder, f"/fhir/{query}")
        types = {resource["resourceType"] for resource in found}
        must("Encounter" not in types, "an included consultation is of a category that is not shared")
    hidden = await look(journey.holder, path_of(hidden_medicine))
    must_be_refused(hidden, "the medicine of a hidden prescription", {404})


async def _other_records(journey: Journey) -> None:
    resource_type, logical_id = journey.others_item
    for rest in ("", "/_history", "/_history/1"):
        answer = await look(journey.holder, f"/fhir/{resource_type}/{logical_id}{rest}")
        must_be_refused(answer, "another citizen's item", {404})
    for person in (journey.person, journey.other_person):
        for path in doors(person.record_id, person.patient_id, logical_id):
            if path.startswith("/records/") or path.endswith(("$everything", "$source")):
                answer = await look(journey.holder, path)
                must_be_refused(answer, f"GET {path} with a grant's token", {403, 404})
    for path, body in (
        ("grants", {"to": {"open": True}}),
        ("links", {"organisation": "ZHD02"}),
        ("end-all", {}),
    ):
        answer = await journey.holder.client.call("POST", f"{journey.record}/{path}", json=body)
        must_be_refused(answer, f"POST {path} with a grant's token", {403, 404})
    answer = await journey.holder.client.call("POST", "/extracts", json={})
    must_be_refused(answer, "an extract sent with a grant's token", {403, 404})


async def _version_tags(journey: Journey) -> None:
    path = path_of(journey.item("george-problems"))
    owners = await journey.citizen.call("GET", path)
    first = await look(journey.holder, path)
    tag: str = first.headers.get("etag", "")
    must(tag not in {"", owners.headers.get("etag")}, "Dr Adeyemi's rendering has George's own version tag")
    again = await look(journey.holder, path, headers={"If-None-Match": tag})
    must(again.status_code == 200, f"a version tag was answered {again.status_code} instead of a logged read")
    head = await look(journey.holder, path, method="HEAD")
    must(head.status_code == 200, f"HEAD was answered {head.status_code}")


async def _two_worlds(journey: Journey) -> None:
    before = await _transcript(journey)
    changed = await send_hidden(journey, f"Changed while Dr Adeyemi reads: {journey.play_id}.")
    must(changed["counts"]["changed"] == 1, f"the hidden item did not change: {changed['counts']}")
    resource_type, logical_id = journey.item(HIDDEN_NOTE)
    george_sees = await journey.citizen.call("GET", f"/fhir/{resource_type}/{logical_id}")
    must(journey.play_id in george_sees.text, "George does not see what changed")
    must(f'"value":{HIDDEN_AGE},' in george_sees.text, f"the number sent as {HIDDEN_AGE} reads otherwise")
    during = await _transcript(journey)
    await send_hidden(journey, CANONICAL_WORDS)
    after = await _transcript(journey)
    for path, told in before.items():
        must(told == during[path] == after[path], f"{path} tells that something hidden changed")


async def _page_link_is_personal(journey: Journey) -> None:
    own = await look(journey.holder, journey.page_link)
    must(own.status_code == 200, f"Dr Adeyemi's own page link was answered {own.status_code}")
    answer = await look(journey.second_holder, journey.page_link)
    must_be_refused(answer, "somebody else's page link", {400, 403, 404})
    medicines = await found_by(journey.second_holder, "/fhir/MedicationRequest")
    must(len(medicines) > 3, "the pharmacist cannot see the medicines")
    started = {name_of(one) for one in await found_by(journey.second_holder, "/fhir/MedicationStatement")}
    must(journey.item("george-metformin-use") not in started, "a medicine is shown from before its dates")
    allergies = {name_of(one) for one in await found_by(journey.second_holder, "/fhir/AllergyIntolerance")}
    must(journey.item("george-penicillin") in allergies, "an allergy was left out for its date")
    for resource_type in ("Condition", "Observation", "Encounter"):
        found = await look(journey.second_holder, f"/fhir/{resource_type}")
        must(
            not holds_resource(found) or not resources_of(found.json()),
            f"the pharmacist sees {resource_type}",
        )


async def _transcript(journey: Journey) -> dict[str, Any]:
    """Everything an answer says, but what is new in each answer by design: its own id, nonce and links."""
    paths = (
        "/fhir/Condition",
        "/fhir/List",
        f"{SEARCH_WITH_MEDICINES}&_count=50",
        "/fhir/Observation?_sort=date",
        path_of(journey.item("george-problems")),
        path_of(journey.item("george-medicines")),
        path_of(journey.item("george-diabetes")),
    )
    told: dict[str, Any] = {}
    for path in paths:
        answer = await look(journey.holder, path)
        body = answer.json()
        if body["resourceType"] == "Bundle":
            body = {name: value for name, value in body.items() if name not in {"id", "link"}}
        told[path] = (answer.headers.get("etag"), answer.headers.get("last-modified"), body)
    return told


def _own_of(journey: Journey, resource_types: tuple[str, ...]) -> list[ItemName]:
    """One item of each of these types that George has."""
    by_type = {name[0]: name for name in journey.own if name[0] in resource_types}
    return list(by_type.values())


def _medication_of(journey: Journey, prescription: str) -> ItemName:
    return _medication(journey, journey.item(prescription))


def _medication(journey: Journey, prescription: ItemName) -> ItemName:
    reference: str = journey.own[prescription]["medicationReference"]["reference"]
    resource_type, _, logical_id = reference.partition("/")
    return resource_type, logical_id


def _face(response: httpx.Response, logical_id: str) -> tuple[int, str, list[str]]:
    """What a refusal looks like, whichever item it was about."""
    varying = {"dpop-nonce", "date", "content-length"}
    headers = sorted(name for name in response.headers if name not in varying)
    return response.status_code, response.text.replace(logical_id, "*"), headers
