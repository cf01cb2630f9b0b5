"""Reads and searches over HTTP, authorised and logged, against a bare handler of the same body."""

import statistics
from collections.abc import Sequence

from tests.extracts import encoded
from tests.load.bench_server import BenchServer, Reader
from tests.load.measuring import Contender, Line, Threshold, compared, interleaved, ratios, spread_of
from tests.load.records import generated
from tests.load.wire import CONNECTIONS, written

ITEMS = 1_000
READS_PER_ROUND = 256
SEARCHES_PER_ROUND = 48
PAGE = 50
SLICE = {"current": True, "categories": ["results"]}

_METHOD = (
    f"one granian worker, SQLite, a record of {ITEMS} results, a doctor with a grant, "
    f"{CONNECTIONS} connections; CPU of the worker per request"
)
_POINT_READ = Threshold(0.25, "PERFORMANCE section 7, authorised point read")


async def reading_lines(server: BenchServer) -> list[Line]:
    """The point read with and without its proof, and the search."""
    person, owner = await server.new_citizen()
    await server.push(encoded(generated(person, ITEMS, series="read")))
    reader = await server.new_reader(owner, SLICE)
    found = await reader.client.expect(200, "GET", f"/fhir/Observation?_count={PAGE}")
    paths = [f"/fhir/Observation/{entry['resource']['id']}" for entry in found["entry"]]
    assert len(paths) == PAGE
    reads = await _against_bare(server, reader, paths, READS_PER_ROUND)
    await reader.renew()
    search = [f"/fhir/Observation?_count={PAGE}"]
    searches = await _against_bare(server, reader, search, SEARCHES_PER_ROUND)
    return [
        _with_proof("logged point read", reads, _POINT_READ),
        _without_proof("logged point read, proof check taken off", reads, _POINT_READ),
        _with_proof(f"logged search of {PAGE} items", searches, None),
        _without_proof(f"logged search of {PAGE} items, proof check taken off", searches, None),
    ]


async def _against_bare(
    server: BenchServer, reader: Reader, paths: Sequence[str], count: int
) -> dict[str, list[float]]:
    body = (await server.wire.one((await reader.requests(paths[:1]))[0])).body
    await server.keep_body(body)

    def asking(some: Sequence[str]) -> Contender:
        async def sample() -> float:
            requests = await reader.requests([some[number % len(some)] for number in range(count)])
            return await server.wire.cpu_each(requests)

        return sample

    async def bare() -> float:
        return await server.wire.cpu_each([written("GET", "/bench/bare")] * count)

    contenders = {"bare": bare, "checked": asking(["/bench/checked"]), "held": asking(paths)}
    return await interleaved(contenders)


def _with_proof(measure: str, samples: dict[str, list[float]], threshold: Threshold | None) -> Line:
    return Line(
        measure=measure,
        method=f"{_METHOD}. Floor: a bare ASGI handler of the same body beside it",
        unit="us",
        threshold=threshold,
        **compared(samples, "bare", "held"),
    )


def _without_proof(measure: str, samples: dict[str, list[float]], threshold: Threshold | None) -> Line:
    """What the target was written for: a bearer token would need no proof (PERFORMANCE section 5)."""
    proof = [checked - bare for checked, bare in zip(samples["checked"], samples["bare"], strict=True)]
    held = [all_of_it - check for all_of_it, check in zip(samples["held"], proof, strict=True)]
    each = ratios(samples["bare"], held)
    return Line(
        measure=measure,
        method="as above, less what the check of one proof costs: bare handler with the check, less without",
        unit="us",
        floor=statistics.median(samples["bare"]),
        ours=statistics.median(held),
        ratio=statistics.median(each),
        spread=spread_of(each),
        rounds=len(each),
        threshold=threshold,
        details={"us of one proof check": statistics.median(proof)},
    )
