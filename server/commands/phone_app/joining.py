"""`held phone init|sync|devices`: how a phone begins and keeps up."""

import argparse
import os
from urllib.parse import quote

import httpx
import msgspec

from server.commands.demo_citizens import DemoDoor, Proved, open_record
from server.commands.demo_file import DemoCitizen, DemoFile, demo_path, read_demo
from server.commands.held_client import Unexpected
from server.commands.phone_app.folder import PhoneFacts, PhoneFolder
from server.commands.phone_app.online import HTTP_SECONDS_MAX, OnlinePhone, online
from server.commands.phone_app.refusals import DONE, MustSignIn, NoConnection, PhoneRefusal
from server.commands.phone_app.telling import tell
from server.commands.phone_app.words import counted, one_line
from sync.ports import NoAnswer, SignInNeeded


class NotBegun(PhoneRefusal):
    """This folder cannot become a phone."""


async def init_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Makes the folder a person's phone and loads their record."""
    if folder.is_begun:
        raise NotBegun(f"{folder.path} is a phone already. Choose another folder, or wipe it first.")
    path = arguments.demo_file or demo_path(os.environ)
    try:
        demo = read_demo(path)
    except (FileNotFoundError, msgspec.DecodeError) as missing:
        raise NotBegun(f"There is no demo at {path}. Start one with `make run` and try again.") from missing
    citizen = await _citizen(demo, arguments.who)
    phone = demo.clients.phone
    facts = PhoneFacts(
        base_url=demo.base_url,
        client_id=phone.client_id,
        redirect_uri=phone.redirect_uri,
        subject=citizen.subject,
        person=citizen.name,
        record_id=citizen.record_id,
        patient_id=citizen.patient_id,
        device_name=arguments.name,
    )
    folder.keep_facts(facts)
    async with online(folder) as begun:
        report = await begun.engine.sync()
        print(f"This is now {citizen.name}'s phone. It holds {counted(report.status.items, 'item')}.")
        return tell(begun, report)


async def sync_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Sends what waits, fetches what is new, proves that both hold the same."""
    async with online(folder) as phone:
        if arguments.sign_in:
            await _sign_in_again(phone)
        status = tell(phone, await phone.engine.sync())
        has_confirmed = phone.has_confirmed_its_end
    if has_confirmed:
        folder.delete()
    return status


async def devices_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Every phone on the record, and the end of one of them. The server is asked: only it knows."""
    async with online(folder) as phone:
        if arguments.end:
            path = f"/sync/v1/records/{phone.facts.record_id}/devices/{quote(arguments.end, safe='')}"
            await phone.call("DELETE", path)
            print("Ended. It gets nothing more, and deletes what it holds as soon as it asks.")
            return DONE
        for device in (await phone.ask("GET", "devices"))["devices"]:
            this = "  (this one)" if device["this"] else ""
            print(f"{device['device_id']}  {one_line(device['name'])}{this}")
    return DONE


async def _citizen(demo: DemoFile, who: str) -> DemoCitizen:
    """The demo citizen a person means, signed in once so that their record is open."""
    wanted = who.replace(" ", "").lower()
    for citizen in demo.citizens:
        names = {citizen.nhs_number, citizen.subject.lower(), citizen.name.replace(" ", "").lower()}
        if wanted not in names | {citizen.subject.rpartition(":")[2].lower()}:
            continue
        proved = Proved(subject=citizen.subject, nhs_number=citizen.nhs_number, birth_date=citizen.birth_date)
        try:
            async with httpx.AsyncClient(timeout=HTTP_SECONDS_MAX, trust_env=False) as http:
                return await open_record(
                    DemoDoor(http=http, base_url=demo.base_url, clients=demo.clients), proved
                )
        except httpx.TransportError as lost:
            raise NoConnection(f"There is no connection to {demo.base_url}.") from lost
        except Unexpected as refused:
            raise MustSignIn(f"{citizen.name} could not be signed in: {refused}") from refused
    raise NotBegun(f"There is no '{who[:60]}' among the demo's citizens.")


async def _sign_in_again(phone: OnlinePhone) -> None:
    """Signs in and sends again what waited for that."""
    try:
        await phone.line.be_freshly_signed_in()
    except NoAnswer as lost:
        raise NoConnection from lost
    except SignInNeeded as asked:
        raise MustSignIn from asked
    for concern in phone.engine.concerns():
        if concern.result.outcome == "needs-step-up":
            phone.engine.send_again(concern.mutation.mid)
