"""What cannot be taken at all is refused at once, with rule and place, and nothing of it is kept (T18)."""

import json
import time
from pathlib import Path
from typing import Any

import httpx

from server.storage import directory_intake
from tests.extracts import bundle, encoded, observation, patient
from tests.intake_world import IntakeWorld, intake_world
from tests.world import AMINA

PERSON = patient(str(AMINA.nhs_number), str(AMINA.birth_date))
SOUND = encoded(bundle([PERSON, observation()]))

COLLECTION = b'{"resourceType":"Bundle","type":"collection","entry":'


def with_text(text: str) -> bytes:
    """A sound extract in which one string is replaced by raw JSON."""
    return SOUND.replace(b'"Haemoglobin A1c"', text.encode("utf-8", "surrogatepass"))


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "empty"),
    "not JSON": (b"<Bundle/>", 400, "syntax"),
    "cut short": (SOUND[:-3], 400, "syntax"),
    "two values": (SOUND + b"{}", 400, "trailing"),
    "duplicate key": (SOUND.replace(b'"status":', b'"status":"draft","status":'), 400, "duplicate-key"),
    "escaped duplicate key": (
        SOUND.replace(b'"status":', b'"st\\u0061tus":"draft","status":'), 400, "duplicate-key"
    ),
    "NUL": (with_text('"a\\u0000b"'), 400, "control-character"),
    "raw control character": (with_text('"a\x01b"'), 400, "control-character"),
    "lone surrogate": (with_text('"\\ud800"'), 400, "lone-surrogate"),
    "not UTF-8": (SOUND.replace(b"Haemoglobin", b"H\xe6moglobin"), 400, "not-utf8"),
    "byte order mark": (b"\xef\xbb\xbf" + SOUND, 400, "byte-order-mark"),
    "65 deep": (with_text("[" * 65 + "]" * 65), 400, "too-deep"),
    "100,000 deep": (b"[" * 100_000, 400, "too-deep"),
    "huge exponent": (SOUND.replace(b"7.40", b"1e2000000"), 400, "number-exponent"),
    "huge number": (SOUND.replace(b"7.40", b"9" * 1_000_000), 400, "number-too-long"),
    "19 digits": (SOUND.replace(b"7.40", b"1234567890.123456789"), 400, "number-digits"),
    "NaN": (SOUND.replace(b"7.40", b"NaN"), 400, "not-a-number"),
    "513 keys": (with_text(json.dumps(dict.fromkeys(map(str, range(513)), 1))), 400, "too-many-keys"),
    "10,001 elements": (with_text(json.dumps([1] * 10_001)), 413, "array-too-long"),
    "a string of 1 MB and a byte": (with_text('"' + "a" * (1024 * 1024 + 1) + '"'), 400, "string-too-long"),
    "10,001 entries": (encoded(bundle([{"resourceType": "Basic"}] * 10_001)), 413, "array-too-long"),
    "entries not in an array": (COLLECTION + b"{}}", 400, "entry-not-array"),
    "an entry that is a text": (COLLECTION + b'["x"]}', 400, "entry-not-object"),
    "an array": (b"[]", 400, ""),
    "not a Bundle": (encoded(PERSON), 422, ""),
    "a searchset": (encoded(bundle([PERSON], "searchset")), 422, ""),
    "a batch": (encoded(bundle([PERSON], "batch")), 422, ""),
    "no type": (b'{"resourceType":"Bundle"}', 422, ""),
}  # fmt: skip


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"].startswith("application/problem+json")
    return response.json()


async def test_each_malformed_body_is_refused_with_its_rule(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        await world.post(SOUND, query="?dry_run=true")
        for name, (body, status, rule) in REFUSED.items():
            began = time.process_time()
            response = await world.post(body)
            assert response.status_code == status, (name, response.text)
            assert rule in problem(response)["detail"], name
            # 100 ms of work whatever the machine does beside it, and for long bodies the time to read them.
            assert time.process_time() - began < 0.1 + len(body) / 1_000_000, name
        assert await world.clinical_types() == []
        await took_nothing(world)


async def took_nothing(world: IntakeWorld) -> None:
    """No extract was kept and no holding record made."""
    assert await world.held.parts.storage.look_up(directory_intake.unfinished) == []


async def test_the_refusal_points_at_the_place(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        response = await world.post(SOUND.replace(b"7.40", b"1e99"))
        assert problem(response)["pointer"] == "/entry/1/resource/valueQuantity/value"


async def test_a_body_of_20_mb_is_taken_and_one_byte_more_is_not(tmp_path: Path) -> None:
    limit = 20 * 1024 * 1024
    notes = [basic(f"b{index}", "a" * 1_000_000) for index in range(20)]
    rest = limit - len(encoded(bundle([PERSON, *notes, basic("last", "")])))
    largest = encoded(bundle([PERSON, *notes, basic("last", "a" * rest)]))
    assert len(largest) == limit
    async with intake_world(tmp_path) as world:
        report = await world.send(largest)
        assert (report["state"], report["counts"]["not_supported"]) == ("done", 21)
        assert (await world.post(largest + b" ")).status_code == 413

        async def undeclared() -> Any:
            for _ in range(limit // 65_536 + 1):
                yield b" " * 65_536

        headers = {"Content-Type": "application/fhir+json"}
        streamed = await world.sender.call("POST", "/extracts", content=undeclared(), headers=headers)
        assert streamed.status_code == 413


def basic(source_id: str, text: str) -> dict[str, Any]:
    return {"resourceType": "Basic", "id": source_id, "author": {"display": text}}


async def test_only_fhir_json_of_r4_is_taken(tmp_path: Path) -> None:
    sent: list[tuple[dict[str, str], int]] = [
        ({"Content-Type": "application/fhir+json;fhirVersion=3.0"}, 415),
        ({"Content-Type": "application/fhir+ndjson"}, 415),
        ({"Content-Type": "application/xml"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/fhir+json;charset=utf-16"}, 415),
        ({"Content-Type": "application/fhir+json;odd=1"}, 415),
        ({"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "application/fhir+json", "Idempotency-Key": "x" * 201}, 400),
        ({"Content-Type": "application/fhir+json; fhirVersion=4.0"}, 202),
        ({"Content-Type": 'application/fhir+json; charset="UTF-8"'}, 202),
        ({"Content-Type": "application/json", "Idempotency-Key": "x" * 200}, 202),
    ]
    async with intake_world(tmp_path) as world:
        for headers, status in sent:
            response = await world.post(SOUND, headers=headers, query="?dry_run=true")
            assert response.status_code == status, (headers, response.text)


async def test_unknown_parameters_and_values_are_refused(tmp_path: Path) -> None:
    queries = ["?extent=half", "?dry_run=1", "?dry_run=", "?extend=full", "?extent=full&extent=full"]
    async with intake_world(tmp_path) as world:
        for query in queries:
            assert (await world.post(SOUND, query=query)).status_code == 400, query


async def test_nobody_but_an_integrator_may_send(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        assert (await world.post(SOUND, sender=world.owner)).status_code == 403
        nobody = world.held.client()
        assert (await world.post(SOUND, sender=nobody)).status_code == 401
