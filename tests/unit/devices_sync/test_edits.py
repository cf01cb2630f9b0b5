"""Deciding a mutation when something is wrong with us."""

from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import structlog

from server.devices_sync import edits
from server.records.own_items import ItemState
from server.storage import feed
from sync.messages import Base, Mutation

PATIENT = str(uuid4())


def test_a_mutation_that_we_fail_on_is_refused_alone_and_only_the_kind_is_noted() -> None:
    named = ("Patient", PATIENT)
    mutation = Mutation(
        mid=str(uuid4()), op="patch", type=named[0], id=named[1],
        base=Base(version=1), patch=msgspec.Raw(b'{"telecom":[]}'),
    )  # fmt: skip
    torn = ItemState(name=named, version=1, state=feed.LIVE, body=b'["Amina"]')
    facts = edits.Facts(patient_id=PATIENT, state=torn, base_body=torn.body, now=datetime.now(UTC))
    with structlog.testing.capture_logs() as lines:
        decision = edits.decide(mutation, facts)
    assert decision.item is None
    assert (decision.result.outcome, decision.result.code) == ("rejected", "invalid")
    assert [(line["event"], line["log_level"]) for line in lines] == [("mutation_failed", "error")]
    assert "Amina" not in str(lines)
