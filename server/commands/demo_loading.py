"""Loads the demo over HTTP alone: each citizen signs in, links organisations, and has extracts sent."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import msgspec

from server.commands.demo_cast import Cast, CastCitizen, extract_bytes
from server.commands.demo_citizens import DemoDoor, Proved, link, open_record
from server.commands.demo_file import (
    DemoCitizen,
    DemoClient,
    DemoClients,
    DemoFile,
    DemoIntegrator,
    DemoProfessional,
    read_demo,
    write_demo,
)
from server.commands.extract_sender import ExtractSender

HTTP_SECONDS_MAX = 60


class ExtractNotTaken(Exception):
    """An extract of the demo was not taken whole."""


class Loading(msgspec.Struct, frozen=True, kw_only=True):
    """What loading works with. Extracts are written `as_on` a day."""

    door: DemoDoor
    integrators: Sequence[DemoIntegrator]
    as_on: date
    say: Callable[[str], None]


def demo_clients(base_url: str) -> DemoClients:
    """Held's own two clients, whose addresses follow from the server's."""
    return DemoClients(
        phone=DemoClient(client_id="held-phone", redirect_uri=f"{base_url}/app/signed-in"),
        portal=DemoClient(client_id="held-portal", redirect_uri=f"{base_url}/portal/signed-in"),
    )


async def load_demo(cast: Cast, loading: Loading, path: Path) -> DemoFile:
    """The demo, loaded and written down. People who are loaded already are left as they are."""
    door, before = loading.door, _before(path)
    citizens: list[DemoCitizen] = []
    for person in cast.citizens:
        proved = Proved(
            subject=person.held_subject, nhs_number=person.nhs_number, birth_date=person.birth_date
        )
        citizen = await open_record(door, proved)
        citizens.append(citizen)
        if citizen not in before:
            await _load(loading, person, citizen)
    own = {citizen.subject for citizen in citizens}
    demo = DemoFile(
        base_url=door.base_url,
        clients=door.clients,
        citizens=[*citizens, *(citizen for citizen in before if citizen.subject not in own)],
        professionals=_professionals(cast),
        integrators=list(loading.integrators),
    )
    write_demo(path, demo)
    return demo


async def _load(loading: Loading, person: CastCitizen, citizen: DemoCitizen) -> None:
    for integrator in loading.integrators:
        sender = ExtractSender(loading.door.http, loading.door.base_url, integrator)
        names = person.extracts.get(integrator.organisation, [])
        if names:
            await link(loading.door, citizen, integrator.organisation)
        for name in names:
            report = await sender.send(extract_bytes(name, as_on=loading.as_on))
            counts = report["counts"]
            if report["state"] != "done" or counts["quarantined"] or counts["not_supported"]:
                raise ExtractNotTaken(f"{name} ended {report['state']} with {counts}.")
            loading.say(f"{citizen.name}: {counts['received']} items from {integrator.organisation}")


def _before(path: Path) -> list[DemoCitizen]:
    """Whom an earlier start of this installation loaded."""
    try:
        return read_demo(path).citizens
    except (FileNotFoundError, msgspec.DecodeError):
        return []


def _professionals(cast: Cast) -> list[DemoProfessional]:
    return [
        DemoProfessional(
            subject=one.held_subject,
            name=one.name,
            role_code=one.role_code,
            role=one.role,
            organisation=one.organisation,
        )
        for one in cast.professionals
    ]
