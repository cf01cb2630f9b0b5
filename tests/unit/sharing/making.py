"""Grants for the tests of the pure rules."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fhir_profiles.slices import Slice
from server.sharing import rules
from server.sharing.grant import Grant, Recipient, Redeemer, Redemption
from server.sharing.rules import Terms

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
GRANT_ID = UUID("00000000-0000-4000-8000-000000000001")
REDEMPTION_ID = UUID("00000000-0000-4000-8000-000000000002")
PATEL = Redeemer(
    subject="cis2:patel",
    jkt="patel-key",
    name="Dr Patel",
    role="GP",
    role_code="R0260",
    organisation="B86001",
    organisation_name="Beeston Practice",
)
OPEN = Recipient(kind="open")


def terms(**changed: Any) -> Terms:
    """Terms that may be had, but for what is changed."""
    fields: dict[str, Any] = {
        "to": OPEN,
        "slice": Slice(),
        "purpose": "TREAT",
        "seconds": 86_400,
        "offer_seconds": 600,
    }
    return Terms(**(fields | changed))


def offered(**changed: Any) -> Grant:
    """A grant just offered at NOW."""
    return rules.offered(terms(**changed), GRANT_ID, NOW, wording=1, offer_key=b"name")


def redemption(who: Redeemer = PATEL, at: datetime = NOW) -> Redemption:
    """A use of that offer."""
    return Redemption(redemption_id=REDEMPTION_ID, grant_id=GRANT_ID, redeemer=who, match="47", claimed_at=at)


def pending(**changed: Any) -> Grant:
    """The grant while Dr Patel waits."""
    return moved(rules.claim(offered(**changed), redemption(), NOW))


def active(**changed: Any) -> Grant:
    """The grant in force since NOW."""
    return moved(rules.allow(pending(**changed), REDEMPTION_ID, NOW))


def ended(**changed: Any) -> Grant:
    """The grant ended an hour after NOW."""
    return moved(rules.end(active(**changed), None, NOW + timedelta(hours=1)))


def moved(change: Grant | rules.Refused) -> Grant:
    """The grant, where a rule let it move."""
    assert isinstance(change, Grant), change
    return change
