"""What one large extract costs: speed, memory, and how long the event loop is kept waiting.

Run as a program it measures in its own process and prints one line of JSON:
`python -m tests.load.intake [megabytes]`.
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

from fhir_profiles.second_opinion import load_models
from server.identity.principal import Person
from server.intake.gather import read_extract
from server.intake.links import Links
from server.intake.organisations import Organisation, register_organisation
from server.intake.service import Intake, Upload
from server.ops.process import keep_the_loop_answering
from server.records.service import Records
from server.storage.engine import Storage
from tests.extracts import Resource, bundle, condition, encoded, identified, observation, patient
from tests.storages import sqlite_storage
from tests.world import nhs_number

SENDER = "B86001"
ENTRIES = 9_900
TICK_SECONDS = 0.002
RSS_MEGABYTES_MAX = 300
STALL_SECONDS_MAX = 0.020
NOTE = "Taken at the surgery by the practice nurse; the reading was repeated after five minutes of rest. "


def large_extract(megabytes: int) -> bytes:
    """An extract of about this size and close to the most entries allowed."""
    padding = NOTE * max(0, int(megabytes * 1_000_000 / ENTRIES - 420) // len(NOTE))
    items: list[Resource] = []
    for index in range(ENTRIES - 1):
        note = [{"text": f"{index} {padding}"}]
        if index % 4 == 3:
            items.append(identified(condition(f"c{index}", note=note), f"c{index}"))
        else:
            items.append(observation(f"o{index}", f"{index % 90}.{index % 10}0", note=note))
    return encoded(bundle([patient(nhs_number(0)), *items]))


async def measured(storage: Storage, body: bytes) -> dict[str, Any]:
    """Sends the extract once and says what it cost."""
    records = Records(storage)
    intake, links = Intake(storage, records), Links(storage, records)
    await intake.start()
    await register_organisation(storage, Organisation(organisation=SENDER, name="Beeston Practice"))
    person = Person(
        subject="load", kind="citizen", name="Amina Yusuf", nhs_number=nhs_number(0), birth_date="1980-02-03"
    )
    await links.accept(await records.open_record_for(person), SENDER)
    keep_the_loop_answering()
    lags: list[tuple[float, float]] = []
    watch = asyncio.create_task(_watch(lags))
    wall, processor = time.perf_counter(), time.process_time()
    upload = Upload(organisation=SENDER, extent="partial", chunks=_chunks(body))
    received = await intake.receive(upload)
    answered = time.perf_counter()
    await intake.settled()
    finished, spent = time.perf_counter(), time.process_time() - processor
    watch.cancel()
    report = await intake.report(SENDER, UUID(received.extract_id))
    await intake.stop()
    assert report.state == "done", report.counts
    return _figures(body, report.counts.received, (wall, answered, finished, spent), sorted(lags))


def model_seconds(body: bytes, sample: int = 1_000) -> float:
    """What fhir.resources alone takes for one resource of the extract, in seconds of processor time."""
    from fhir.resources.R4B import get_fhir_model_class

    load_models(["Observation", "Condition"])
    extract = read_extract(body)
    resources = [json.loads(json.dumps(_plain(extract, index))) for index in range(1, sample + 1)]
    models = {name: get_fhir_model_class(name) for name in ("Observation", "Condition")}
    began = time.process_time()
    for each in resources:
        models[each["resourceType"]].model_validate(each)
    return (time.process_time() - began) / sample


def _plain(extract: Any, index: int) -> Any:
    start, end = extract.places[index]
    return json.loads(extract.raw[start:end])


def _figures(
    body: bytes, received: int, times: tuple[float, float, float, float], lags: list[tuple[float, float]]
) -> dict[str, Any]:
    wall, answered, finished, spent = times
    return {
        "megabytes": round(len(body) / 1e6, 1),
        "resources": received,
        "answered_seconds": round(answered - wall, 2),
        "done_seconds": round(finished - wall, 2),
        "processor_seconds": round(spent, 2),
        "resources_per_processor_second": round(received / spent),
        "rss_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "stall_ms": {
            "p50": round(lags[len(lags) // 2][0] * 1000, 1),
            "p99": round(lags[int(len(lags) * 0.99)][0] * 1000, 1),
            "max": round(lags[-1][0] * 1000, 1),
            "max_by_this_process": round(max(own for _, own in lags) * 1000, 1),
        },
    }


async def _watch(lags: list[tuple[float, float]]) -> None:
    """How late each tick was, and how much of that this process itself can have caused."""
    while True:
        began, spent = time.perf_counter(), time.process_time()
        await asyncio.sleep(TICK_SECONDS)
        late = time.perf_counter() - began - TICK_SECONDS
        lags.append((late, min(late, time.process_time() - spent)))


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


async def main(megabytes: int) -> dict[str, Any]:
    """The figures of one extract of this size, with what each may be at most."""
    body = large_extract(megabytes)
    with tempfile.TemporaryDirectory() as folder:
        async with sqlite_storage(Path(folder)) as storage:
            figures = await measured(storage, body)
    alone = model_seconds(body)
    figures["times_fhir_resources_alone"] = round(
        figures["processor_seconds"] / figures["resources"] / alone, 2
    )
    figures["rss_is_within"] = figures["rss_megabytes"] < RSS_MEGABYTES_MAX
    figures["stall_is_within"] = figures["stall_ms"]["max_by_this_process"] < STALL_SECONDS_MAX * 1000
    return figures


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))))
