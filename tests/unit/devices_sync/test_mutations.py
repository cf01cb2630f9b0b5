"""Reading a push: what stands in it, what its defaults give, and what cannot be read."""

import json
from typing import Any

import msgspec
import pytest

from server.devices_sync.mutations import read_push
from server.errors import BadRequest
from sync.messages import Push

MID = "0b0f5a3e-6f6e-4d57-9d4b-0d2a3c6f1e11"


def push(*mutations: Any, **members: Any) -> Push:
    raw = tuple(msgspec.Raw(json.dumps(one).encode()) for one in mutations)
    return Push(device_id="x", mutations=raw, **members)


def test_defaults_give_what_a_mutation_lacks_and_nothing_else() -> None:
    defaults = {"op": "patch", "type": "Observation", "base": {"version": 3}}
    lean, full = {"mid": MID, "id": "a", "patch": {}}, {"mid": MID, "id": "a", "op": "delete", "type": "Task"}
    first, second = (sent.mutation for sent in read_push(push(lean, full, defaults=defaults)))
    assert first is not None
    assert second is not None
    assert (first.op, first.type, first.base) == ("patch", "Observation", first.base)
    assert (second.op, second.type) == ("delete", "Task")


def test_a_body_is_kept_to_the_letter() -> None:
    raw = f'{{"mid":"{MID}","op":"create","type":"Observation","id":"a","body":{{"v":1.00,"é":"\\u00e9"}}}}'
    sent = read_push(Push(device_id="x", mutations=(msgspec.Raw(raw.encode()),)))[0]
    assert sent.mutation is not None
    assert bytes(sent.mutation.body) == '{"v":1.00,"é":"\\u00e9"}'.encode()


def test_what_is_missing_is_empty() -> None:
    sent = read_push(push({"mid": MID, "op": "delete", "type": "Observation", "id": "a"}))[0]
    assert sent.mutation is not None
    assert (bytes(sent.mutation.body), sent.mutation.base, sent.mutation.after) == (b"", None, None)


def test_a_mutation_that_cannot_be_read_is_refused_alone() -> None:
    odd = {"mid": MID, "op": "explode", "type": "Observation", "id": "a"}
    sent = read_push(push(odd))[0]
    assert sent.mutation is None
    assert sent.refusal is not None
    assert (sent.refusal.mid, sent.refusal.outcome, sent.refusal.code) == (MID, "rejected", "unreadable")


@pytest.mark.parametrize("odd", [{}, {"mid": 1}, {"mid": "x"}, {"mid": MID.upper()}, [], 1, None, "x"])
def test_a_mutation_without_a_name_refuses_the_push_and_says_which(odd: Any) -> None:
    good = {"mid": MID, "op": "delete", "type": "Observation", "id": "a"}
    with pytest.raises(BadRequest) as refused:
        read_push(push(good, odd))
    assert refused.value.pointer == "/mutations/1/mid"
