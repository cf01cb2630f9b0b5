"""George's phone: his whole record on it, what he does without a connection, and who else cannot use it."""

from typing import Any

import msgspec

from server.commands.demo_steps.journey import (
    DOCTOR,
    PHARMACIST,
    Holder,
    Journey,
    PhonePlay,
    Step,
    holds_resource,
    must,
    must_be_refused,
    resources_of,
)
from server.commands.demo_steps.looking import look
from server.commands.demo_steps.offering import ACCESS_SECONDS, redeemed
from server.commands.demo_steps.phones import answer_to, as_device, encoded, new_phone, problem_code, synced
from server.commands.demo_steps.putting_right import (
    SAID_WRONG,
    SHOULD_SAY,
    send_questioned,
    withdraw_questions,
)
from server.commands.phone_app.online import online
from server.commands.phone_app.opened import RandomIds, opened
from server.commands.phone_app.readings import reading
from sync.messages import MEDIA_TYPE, Base, Mutation, Push
from sync.phone import Draft
from sync.values import read_json as read_exactly


def steps() -> list[Step]:
    """The steps, in order."""
    return [
        Step("George's phone takes a copy of his whole record, and proves that it is whole", _first_sync),
        Step("No other key, no other phone's place and nobody's token get anything of it", _nobody_else),
        Step("Offline he adds his blood pressure and questions an item; both show at once", _offline),
        Step("The phone sends it all: once, whatever is sent again", _sent_once),
        Step("He shares from the phone: a doctor sees both, a pharmacist only medicines", _share),
        Step("A second phone has it all too; ended, it gets nothing more and deletes it", _second_phone),
    ]


async def _first_sync(journey: Journey) -> None:
    # The steps before may have taken as long as a token lives.
    await journey.citizen.refresh(record_id=journey.person.record_id)
    journey.phone_play = PhonePlay(folder=new_phone(journey, "Phone"))
    play = journey.phone_play
    play.condition = await send_questioned(journey, SAID_WRONG)
    await withdraw_questions(journey)
    report = await synced(play.folder)
    must(report.status.items > 40, f"the phone holds only {report.status.items} items")
    with opened(play.folder) as phone:
        for resource_type, logical_id in journey.sent_by_demo:
            must(
                phone.engine.item(resource_type, logical_id) is not None,
                f"the phone lacks {resource_type}/{logical_id}",
            )
        play.cursor = phone.engine.cursor() or ""


async def _nobody_else(journey: Journey) -> None:
    changes = f"/sync/v1{journey.record}/changes"
    stranger = await journey.citizen.call("GET", changes)
    must_be_refused(stranger, "a pull with a key that is no phone's", {403})
    must(problem_code(stranger) == "device-unknown", "a pull with another key was refused otherwise")
    must_be_refused(await journey.doctor.call("GET", changes), "a doctor's pull")
    must_be_refused(await journey.second_holder.client.call("GET", changes), "a pull with a grant's token")
    other = journey.other_person.record_id
    device = as_device(journey, journey.phone_play.folder)
    must_be_refused(
        await device.call("GET", f"/sync/v1/records/{other}/changes"), "a pull of another's record"
    )
    tablet = new_phone(journey, "Tablet")
    await synced(tablet)
    journey.phone_play.tablet = tablet
    taken = await as_device(journey, tablet).call("GET", changes, params={"since": journey.phone_play.cursor})
    must(taken.status_code == 410, f"another phone's place was answered {taken.status_code}")
    must(not holds_resource(taken), "another phone's place was answered with content")


async def _offline(journey: Journey) -> None:
    play = journey.phone_play
    journey.afterwards.append(lambda: _take_back(journey))
    with opened(play.folder) as phone:
        play.reading = phone.new_id()
        made = reading(
            "blood-pressure",
            "128/82",
            at="2026-11-20",
            logical_id=play.reading,
            patient_id=journey.person.patient_id,
        )
        body = read_exactly(encoded(made))
        phone.engine.write(Draft(op="create", type="Observation", id=play.reading, body=body))
        version = phone.engine.item("Condition", play.condition)
        assert version is not None
        asked = {
            "command": "question",
            "kind": "wrong",
            "target": f"Condition/{play.condition}/_history/{version.version}",
            "says": SAID_WRONG,
            "should_say": SHOULD_SAY,
        }
        play.question = phone.engine.write(Draft(op="command", type="Task", args=asked)).id
        shown = phone.engine.item("Observation", play.reading)
        questioned = phone.engine.item("Condition", play.condition)
        must(shown is not None and shown.waiting, "the reading does not show at once")
        must(questioned is not None and questioned.questioned, "the item is not marked at once")
        must(phone.engine.status().waiting == 2, "two changes should wait")
    await _must_not_be_there(journey, f"/fhir/Observation/{play.reading}")
    standing = await journey.citizen.expect(200, "GET", f"/fhir/Condition/{play.condition}")
    must("questioned" not in str(standing.get("meta")), "the item is marked before anything was sent")


async def _take_back(journey: Journey) -> None:
    """Leaves the record as it was: nothing asked, and no reading of this play's."""
    await withdraw_questions(journey)
    with opened(journey.phone_play.folder) as phone:
        if phone.engine.item("Observation", journey.phone_play.reading) is not None:
            phone.engine.write(Draft(op="delete", type="Observation", id=journey.phone_play.reading))
    await synced(journey.phone_play.folder, is_proved=False)


async def _must_not_be_there(journey: Journey, path: str) -> None:
    must_be_refused(await journey.citizen.call("GET", path), f"GET {path} before the phone sent it", {404})


async def _sent_once(journey: Journey) -> None:
    play = journey.phone_play
    with opened(play.folder) as phone:
        waiting = [msgspec.Raw(encoded(entry.mutation)) for entry in phone.engine.outbox()]
    await synced(play.folder)
    told = await _push(journey, waiting)
    must(all(result.get("repeat") for result in told), "what was sent again was taken again")
    listed = await journey.citizen.expect(200, "GET", f"{journey.record}/corrections")
    mine = [one for one in listed["corrections"] if one["correction_id"] == play.question]
    must(len(mine) == 1, f"the question was asked {len(mine)} times")
    own = await journey.citizen.expect(200, "GET", f"/fhir/Observation/{play.reading}")
    must(own["meta"]["versionId"] == "1", "the reading was written more than once")
    forged = Mutation(
        mid=RandomIds().mutation_id(),
        op="replace",
        type="Condition",
        id=play.condition,
        base=Base(version=1),
        body=msgspec.Raw(b'{"resourceType":"Condition","code":{"text":"Never had it"}}'),
    )
    (refused,) = await _push(journey, [msgspec.Raw(encoded(forged))])
    must(refused["outcome"] == "rejected", "a phone could overwrite what the surgery wrote")


async def _push(journey: Journey, mutations: list[msgspec.Raw]) -> list[dict[str, Any]]:
    """The results of a push that the phone itself would not make."""
    play = journey.phone_play
    listed = await journey.citizen.expect(200, "GET", f"{journey.record}/devices")
    named = play.folder.facts().device_name
    (device_id,) = [one["device_id"] for one in listed["devices"] if one["name"] == named]
    push = Push(device_id=device_id, mutations=tuple(mutations))
    told = await as_device(journey, play.folder).expect(
        200,
        "POST",
        f"/sync/v1{journey.record}/mutations",
        content=encoded(push),
        headers={"content-type": MEDIA_TYPE},
    )
    return told["results"]


async def _share(journey: Journey) -> None:
    play = journey.phone_play
    current = {"current": True, "categories": ["self-recorded"]}
    play.doctor = doctor = await _offered_from_the_phone(journey, DOCTOR, current)
    medicines = {"current": False, "categories": ["medicines"]}
    play.pharmacist = pharmacist = await _offered_from_the_phone(journey, PHARMACIST, medicines)
    seen = await look(doctor, f"/fhir/Condition/{play.condition}")
    must(seen.status_code == 200, f"the questioned item was answered {seen.status_code}")
    tags = [tag.get("code") for tag in seen.json()["meta"].get("tag", [])]
    must("questioned" in tags, "the doctor is not told that the item is questioned")
    pressure = await look(doctor, f"/fhir/Observation/{play.reading}")
    must(pressure.status_code == 200, f"the reading was answered {pressure.status_code}")
    for path in (f"/fhir/Condition/{play.condition}", f"/fhir/Observation/{play.reading}"):
        must_be_refused(await look(pharmacist, path), f"GET {path} as the pharmacist", {404})
    for holder in (doctor, pharmacist):
        answer = await look(holder, f"/fhir/Task/{play.question}")
        must_be_refused(answer, "the question itself, as a professional", {404})
        for path in ("/fhir/Task", "/fhir/Communication"):
            found = await look(holder, path)
            nothing = not holds_resource(found) or not resources_of(found.json())
            must(nothing, f"GET {path} shows a professional something")


async def _second_phone(journey: Journey) -> None:
    play = journey.phone_play
    await synced(play.folder)
    assert play.tablet is not None
    await synced(play.tablet)
    with opened(play.folder) as phone, opened(play.tablet) as tablet:
        must(phone.engine.root() == tablet.engine.root(), "the two phones hold different records")
    device = as_device(journey, play.tablet)
    listed = await journey.citizen.expect(200, "GET", f"{journey.record}/devices")
    named = play.tablet.facts().device_name
    (device_id,) = [one["device_id"] for one in listed["devices"] if one["name"] == named]
    await journey.citizen.expect(204, "DELETE", f"/sync/v1{journey.record}/devices/{device_id}")
    for path in (f"/sync/v1{journey.record}/changes", f"{journey.record}/log", "/fhir/Condition"):
        refused = await device.call("GET", path)
        must_be_refused(refused, f"GET {path} by a phone that was ended", {401, 403})
    report = await synced(play.tablet, is_proved=False)
    must(report.status.is_ended and report.status.items == 0, "an ended phone kept what it held")


async def _offered_from_the_phone(journey: Journey, subject: str, shared: dict[str, Any]) -> Holder:
    """A share made on the phone, used by a professional."""
    play = journey.phone_play
    args = {
        "command": "grant",
        "to": {"open": True},
        "slice": shared,
        "seconds": ACCESS_SECONDS,
    }
    async with online(play.folder) as phone:
        await phone.line.be_freshly_signed_in()
        mutation = phone.engine.write(Draft(op="command", type="Consent", args=args))
        journey.offered.append(mutation.id)
        await phone.engine.sync()
        offered = answer_to(phone, mutation.mid)
    client = await journey.professional_client(subject)
    return await redeemed(journey, client, offered)
