"""What a phone asks of both worlds (SYNC.md), and what it does in one of them."""

from collections.abc import Sequence
from random import Random
from typing import Any
from uuid import UUID

from tests.api.phones import weight
from tests.api.two_worlds import Call
from tests.api.two_worlds_cast import Person
from tests.extracts import Resource

# Compressed, the length of an answer would follow from its random cursor too.
PLAIN = {"Accept-Encoding": "identity"}


def own_reading(person: Person, rng: Random, words: str) -> Call:
    """A push of one reading of the person's own, with these words in a note."""
    reading = weight(rng.randrange(50, 90)) | {"note": [{"text": words}]}
    return push(person, rng, {"op": "create", "type": "Observation", "id": _uuid(rng), "body": reading})


def push(person: Person, rng: Random, *mutations: Resource) -> Call:
    """A push of the person's phone."""
    body = {"deviceId": person.device_id, "mutations": [{"mid": _uuid(rng), **each} for each in mutations]}
    return Call("POST", f"{_base(person)}/mutations", PLAIN, json=body)


def pulling(person: Person, rng: Random) -> list[Call]:
    """All changes in pages, and at the end nothing new."""
    path = f"{_base(person)}/changes"
    pages = [Call("GET", f"{path}?limit={rng.choice([3, 10, 500])}", PLAIN)]
    pages += [Call("GET", f"{path}?since={{cursor}}", PLAIN)] * rng.randint(1, 3)
    known = PLAIN | {"If-None-Match": '"{cursor}"'}
    return [*pages, Call("GET", f"{path}?since={{cursor}}", known)]


def checking(person: Person, rng: Random) -> list[Call]:
    """A snapshot with a segment, and the digest from the root to the leaves."""
    base = _base(person)
    bucket = f"{rng.randrange(256):02x}"
    return [
        Call("GET", f"{base}/snapshot", PLAIN),
        Call("GET", f"{base}/segments/{{segment}}", PLAIN),
        Call("GET", f"{base}/changes?since={{cursor}}", PLAIN),
        Call("GET", f"{base}/digest?at={{cursor}}&prefix=&depth={rng.choice([1, 2])}", PLAIN),
        Call("GET", f"{base}/digest?at={{cursor}}&prefix={bucket}", PLAIN),
        Call("GET", "/sync/v1/heads", PLAIN),
    ]


def fetching(person: Person, names: Sequence[str]) -> list[Call]:
    """Items by name, there or not."""
    items = [name.split("/") for name in names]
    return [Call("POST", f"{_base(person)}/fetch", PLAIN, json={"items": items})]


def writing(person: Person, rng: Random, names: Sequence[str]) -> list[Call]:
    """A reading of one's own, and changes that the phone may not make to items, there or not."""
    changes: list[dict[str, Any]] = []
    for name in names:
        kind, _, logical_id = name.partition("/")
        patch = {"note": [{"text": "mine"}]}
        changes.append(
            {"op": "patch", "type": kind, "id": logical_id, "base": {"version": 1}, "patch": patch}
        )
    return [own_reading(person, rng, "seen"), push(person, rng, *changes)]


def questioning(person: Person, rng: Random, name: str) -> list[Call]:
    """The person questions an item, there or not."""
    path = f"/records/{person.record_id}/corrections"
    asked = {"kind": "wrong", "target": name, "should_say": "Something else", "mid": _uuid(rng)}
    return [Call("POST", path, json=asked), Call("GET", path)]


def _base(person: Person) -> str:
    return f"/sync/v1/records/{person.record_id}"


def _uuid(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
