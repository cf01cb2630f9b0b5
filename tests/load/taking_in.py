"""Extracts over HTTP until they are published: against the models alone, and one near the largest allowed."""

import statistics
import time
from typing import Any

import msgspec

from server.identity.development_provider import DemoPerson
from tests.extracts import encoded
from tests.load.bench_app import Figures
from tests.load.bench_server import BenchServer
from tests.load.intake import ENTRIES, large_extract
from tests.load.measuring import Line, Threshold, compared, interleaved, spread_of
from tests.load.records import generated, published, resources_in
from tests.world import nhs_number

GENERATED_ITEMS = 1_200
ROUNDS = 7
LARGE_MEGABYTES = 15
LARGE_ROUNDS = 3


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
                f"POST /extracts until its report says done, {len(resources[0])} {source} resources, "
                "all new; CPU of the worker per resource. Floor: fhir.resources alone (model_validate)"
            ),
            unit="us",
            threshold=Threshold(0.45, "PERFORMANCE section 7, ingest over HTTP, whose floor was another"),
            **compared(samples, "models", "held"),
        )
    ]


async def large_extract_lines(server: BenchServer) -> list[Line]:
    """Memory and the loop while 15 MB are taken in and checked; each round for another citizen."""
    like = large_extract(LARGE_MEGABYTES)
    idle = await server.wire.figures()
    watched: list[Figures] = []
    for _ in range(LARGE_ROUNDS):
        person, _ = await server.new_citizen()
        body = like.replace(nhs_number(0).encode(), str(person.nhs_number).encode())
        await server.wire.begin_watch()
        await server.push(body)
        watched.append(await server.wire.figures())
    stalls = [figures.stall_own * 1e3 for figures in watched]
    peak = watched[-1].resident_peak_bytes / 1e6
    sent = f"POST /extracts of {len(like) / 1e6:.1f} MB and {ENTRIES} entries until its report says done"
    return [
        Line(
            measure=f"memory with a {LARGE_MEGABYTES} MB extract",
            method=f"{sent}, {LARGE_ROUNDS} times; the most the worker had resident",
            unit="MB",
            ours=peak,
            ratio=peak,
            threshold=Threshold(300, "the issue", at_most=True),
            details={"MB before": idle.resident_peak_bytes / 1e6},
        ),
        Line(
            measure=f"loop stall with a {LARGE_MEGABYTES} MB extract",
            method=(
                f"{sent}; the latest that a 1 ms tick of the loop came, less what its thread waited for a "
                f"processor; median of {LARGE_ROUNDS}"
            ),
            unit="ms",
            ours=statistics.median(stalls),
            ratio=statistics.median(stalls),
            spread=spread_of(stalls),
            rounds=LARGE_ROUNDS,
            threshold=Threshold(20, "the issue", at_most=True),
            details={
                "ms in the best round": min(stalls),
                "ms by the wall clock": statistics.median(one.stall_wall * 1e3 for one in watched),
                "ms of the longest collection": max(one.collection_longest * 1e3 for one in watched),
                "CPU seconds each": (watched[-1].cpu_seconds - idle.cpu_seconds) / LARGE_ROUNDS,
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
