"""`held import`: sends FHIR Bundles as the demo's integrator, over HTTP alone, and says how each fared."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec

from server.commands.demo_citizens import DemoDoor, Proved, link, open_record
from server.commands.demo_file import DemoCitizen, DemoFile, demo_path, read_demo, write_demo
from server.commands.extract_sender import ExtractSender, ExtractUnsettled, Report
from server.commands.held_client import Unexpected
from server.commands.report_words import report_lines
from server.commands.sample_patient import (
    BundleUnreadable,
    SamplePatient,
    sample_patient,
    stated_numbers,
)

HTTP_SECONDS_MAX = 120
CONTENT_TYPES = {
    "3.0": "application/fhir+json;fhirVersion=3.0",
    "4.0": "application/fhir+json;fhirVersion=4.0",
}


class NotInDemo(Exception):
    """The person or organisation is not in this demo."""


class _Import(msgspec.Struct, frozen=True, kw_only=True):
    """What one run works with."""

    door: DemoDoor
    demo: DemoFile
    path: Path
    sender: ExtractSender
    content_type: str
    extent: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--as", dest="nhs_number", metavar="NHS_NUMBER", help="a demo citizen's")
    whose.add_argument("--new-person", action="store_true", help="open a demo citizen to fit the bundle")
    parser.add_argument(
        "--organisation", metavar="ODS", help="which of the demo's senders; the first if not given"
    )
    parser.add_argument("--fhir-version", choices=sorted(CONTENT_TYPES), default="4.0")
    parser.add_argument("--extent", choices=("partial", "full"), default="partial")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """0 when every file was taken in, 1 when one was held or failed."""
    path = demo_path(os.environ)
    try:
        demo = read_demo(path)
        return asyncio.run(_import_all(demo, path, arguments))
    except FileNotFoundError as missing:
        print(f"There is no {missing.filename}. Start the demo with `make run` first.", file=sys.stderr)
    except (Unexpected, ExtractUnsettled, NotInDemo, httpx.HTTPError, msgspec.DecodeError) as failed:
        print(f"The import failed: {failed}", file=sys.stderr)
    return 1


async def _import_all(demo: DemoFile, path: Path, arguments: argparse.Namespace) -> int:
    async with httpx.AsyncClient(timeout=HTTP_SECONDS_MAX, trust_env=False) as http:
        work = _Import(
            door=DemoDoor(http=http, base_url=demo.base_url, clients=demo.clients),
            demo=demo,
            path=path,
            sender=_sender(http, demo, arguments.organisation),
            content_type=CONTENT_TYPES[arguments.fhir_version],
            extent=arguments.extent,
        )
        if arguments.new_person:
            return await _for_new_people(work, arguments.files)
        return await _for_citizen(work, arguments.nhs_number, arguments.files)


def _sender(http: httpx.AsyncClient, demo: DemoFile, organisation: str | None) -> ExtractSender:
    for integrator in demo.integrators:
        if organisation in (None, integrator.organisation):
            return ExtractSender(http, demo.base_url, integrator)
    raise NotInDemo(f"No integrator of the demo sends for {organisation}.")


async def _for_citizen(work: _Import, nhs_number: str, files: Sequence[Path]) -> int:
    citizen = next((one for one in work.demo.citizens if one.nhs_number == nhs_number), None)
    if citizen is None:
        raise NotInDemo(f"No citizen of the demo has the NHS number {nhs_number}.")
    results: list[bool] = []
    for file in files:
        if await _is_about_another(work, file, nhs_number):
            print(
                f"{file.name}: this is about another citizen of the demo. Nothing was sent.", file=sys.stderr
            )
            results.append(False)
        else:
            results.append(await _send(work, file))
    return 0 if all(results) else 1


async def _is_about_another(work: _Import, file: Path, nhs_number: str) -> bool:
    """Whether the server would rightly file it elsewhere. About nobody here is for the server to say."""
    stated = stated_numbers(await asyncio.to_thread(file.read_bytes)) - {nhs_number}
    return not stated.isdisjoint(citizen.nhs_number for citizen in work.demo.citizens)


async def _for_new_people(work: _Import, files: Sequence[Path]) -> int:
    results: list[bool] = []
    for file in files:
        try:
            patient = sample_patient(await asyncio.to_thread(file.read_bytes))
        except BundleUnreadable as unreadable:
            print(f"{file.name}: {unreadable}", file=sys.stderr)
            results.append(False)
            continue
        citizen = await _open(work, patient)
        print(
            f"{file.name}: for {citizen.name}, NHS number {citizen.nhs_number}, sign in as {citizen.subject}"
        )
        results.append(await _send(work, file))
    return 0 if all(results) else 1


async def _open(work: _Import, patient: SamplePatient) -> DemoCitizen:
    """The person's record, opened and linked, with the bundle's own identifier accepted on the link."""
    person = {
        "name": patient.name,
        "nhs_number": patient.nhs_number,
        "birth_date": patient.birth_date,
    }
    answer = await work.door.http.post(f"{work.door.base_url}/development/people", json=person)
    if answer.status_code != 201:
        raise Unexpected("POST /development/people", answer)
    added = answer.json()
    proved = Proved(subject=added["subject"], nhs_number=patient.nhs_number, birth_date=patient.birth_date)
    citizen = await open_record(work.door, proved)
    organisation = work.sender.integrator.organisation
    await link(work.door, citizen, organisation)
    if patient.alias is not None:
        system, value = patient.alias
        alias = {
            "record_id": citizen.record_id,
            "organisation": organisation,
            "system": system,
            "value": value,
        }
        answer = await work.door.http.post(f"{work.door.base_url}/development/aliases", json=alias)
        if answer.status_code != 204:
            raise Unexpected("POST /development/aliases", answer)
    _write_down(work, citizen)
    return citizen


def _write_down(work: _Import, citizen: DemoCitizen) -> None:
    """Adds the person to demo.json, so that any program can be them from now on."""
    demo = read_demo(work.path)
    others = [one for one in demo.citizens if one.subject != citizen.subject]
    if len(others) == len(demo.citizens):
        write_demo(work.path, msgspec.structs.replace(demo, citizens=[*others, citizen]))


async def _send(work: _Import, file: Path) -> bool:
    """Sends one file and prints what became of it; whether it was taken in."""
    try:
        body = await asyncio.to_thread(file.read_bytes)
        print(f"{file.name}: sending {len(body):,} bytes", flush=True)
        report = await work.sender.send(
            body, content_type=work.content_type, progress=_progress, extent=work.extent
        )
    except (Unexpected, ExtractUnsettled, OSError) as failed:
        print(f"{file.name}: {failed}", file=sys.stderr)
        return False
    for line in report_lines(report):
        print(line)
    return report["state"] == "done"


def _progress(report: Report) -> None:
    done, seen = report["progress"]["done"], report["progress"]["seen"]
    print(f"  {report['state']}: {done:,} of {seen:,}", flush=True)
