"""Extracts over HTTP until they are published: against the models alone, and one near the largest allowed."""

import time
from typing import Any

import msgspec

from server.identity.development_provider import DemoPerson
from tests.extracts import encoded
from tests.load.bench_server import BenchServer
from tests.load.intake import large_extract
from tests.load.measuring import Line, Threshold, compared, interleaved
from tests.load.records import generated, published, resources_in

GENERATED_ITEMS = 1_200
ROUNDS = 7
LARGE_MEGABYTES = 15


async def intake_lines(server: BenchServer) -> list[Line]:
    """Each round sends a different citizen's extract of the same items, so that each item is new."""
    people = [await server.new_citizen() for _ in range(ROUNDS + 1)]
    waiting = iter(enumerate(people))
    bodies = [_extract(person, str(number)) for number, (person, _) in enumerate(people)]
    resources = [_resources(body) for body in bodies]
    checked = iter(resources)

    async def held() -> float:
        number, _ = next(waiting)
        before = await server.wire.figures()
        report = await server.push(bodies[number])
        after = await server.wire.figures()
        assert report["counts"]["received"] == len(resources[number]), report["counts"]
        return (after.cpu_seconds - before.cpu_seconds) / len(resources[number]) * 1e6

    async def models() -> float:
        return _model_seconds(next(checked)) * 1e6

    samples = await interleaved({"models": models, "held": held}, ROUNDS)
    source = "published Synthea" if published(people[0][0], "0") else "generated"
    return [
        Line(
            measure="intake per resource",
            method=(
                f"POST /extracts until its report says done, {len(resources[0])} {source} resources, all new; "
                "CPU of the worker per resource. Floor: fhir.resources alone, model_validate of each, decoded before"
            ),
            unit="us",
            threshold=Threshold(
                0.45, "PERFORMANCE section 7, ingest: its floor lacked fhir.resources and this has it"
            ),
            **compared(samples, "models", "held"),
        )
    ]


async def large_extract_lines(server: BenchServer) -> list[Line]:
    """Memory and the loop while 15 MB are taken in and checked."""
    await server.new_citizen()
    body = large_extract(LARGE_MEGABYTES)
    idle = await server.wire.figures()
    await server.wire.begin_watch()
    began = time.perf_counter()
    report = await server.push(body)
    seconds = time.perf_counter() - began
    used = await server.wire.figures()
    count = report["counts"]["received"]
    method = f"POST /extracts of {len(body) / 1e6:.1f} MB and {count} entries until its report says done"
    return [
        Line(
            measure=f"memory with a {LARGE_MEGABYTES} MB extract",
            method=f"{method}; the most the worker had resident",
            unit="MB",
            ours=used.resident_peak_bytes / 1e6,
            ratio=used.resident_peak_bytes / 1e6,
            threshold=Threshold(300, "the issue", at_most=True),
            details={"MB before": idle.resident_peak_bytes / 1e6},
        ),
        Line(
            measure=f"loop stall with a {LARGE_MEGABYTES} MB extract",
            method=(
                f"{method}; the latest a 1 ms tick of the loop came, counting only time in which this process ran"
            ),
            unit="ms",
            ours=used.stall_cpu * 1e3,
            ratio=used.stall_cpu * 1e3,
            threshold=Threshold(20, "the issue", at_most=True),
            details={
                "ms by the wall clock, other processes included": used.stall_wall * 1e3,
                "seconds in all": seconds,
                "CPU seconds in all": used.cpu_seconds - idle.cpu_seconds,
            },
        ),
    ]


def _extract(person: DemoPerson, series: str) -> bytes:
    found = published(person, series)
    return found[0] if found else encoded(generated(person, GENERATED_ITEMS, series=series))


def _resources(body: bytes) -> list[dict[str, Any]]:
    return [msgspec.json.decode(resource) for resource in resources_in(body)]


def _model_seconds(resources: list[dict[str, Any]]) -> float:
    """CPU seconds that the models take for one resource."""
    from fhir.resources.R4B import get_fhir_model_class

    began = time.process_time()
    for resource in resources:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    return (time.process_time() - began) / len(resources)
