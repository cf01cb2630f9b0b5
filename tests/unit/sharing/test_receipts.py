"""Receipts can be checked without us."""

from datetime import timedelta

import jwt
import msgspec
from jwt.algorithms import get_default_algorithms

from server.audit.service import NOTHING_SEEN, Seen, SeenItem
from server.identity.signing_keys import new_signing_key
from server.sharing import rules
from server.sharing.receipts import RECEIPT_TYPE, ReceiptSigner
from tests.unit.sharing.making import NOW, ended, moved, offered

KEY = new_signing_key()
SIGNER = ReceiptSigner("https://held.example.org", KEY)
SEEN = Seen(
    n=3,
    last_read_at=NOW,
    items=(
        SeenItem(type="Observation", id="1", version="1", first_at=NOW),
        SeenItem(type="Observation", id="1", version="2", first_at=NOW),
    ),
)


def test_a_receipt_is_signed_over_all_it_says() -> None:
    receipt = SIGNER.receipt(ended(), SEEN, NOW + timedelta(hours=1))
    public = get_default_algorithms()["ES256"].from_jwk(KEY.public_jwk())
    claims = jwt.decode(receipt.jws, public, algorithms=["ES256"], options={"verify_iat": False})
    said = msgspec.to_builtins(receipt)
    said.pop("jws")
    assert claims["receipt"] == msgspec.json.decode(msgspec.json.encode(said))
    assert claims["iss"] == "https://held.example.org"
    assert jwt.get_unverified_header(receipt.jws)["typ"] == RECEIPT_TYPE


def test_a_receipt_says_what_had_been_seen_and_cannot_be_undone() -> None:
    receipt = SIGNER.receipt(ended(), SEEN, NOW + timedelta(hours=1))
    assert receipt.effective_at == "2026-11-23T10:00:00.000Z"
    assert [(item.type, item.id, item.version) for item in receipt.seen] == [
        ("Observation", "1", "1"),
        ("Observation", "1", "2"),
    ]
    assert receipt.sentence == (
        "Access for Dr Patel (GP, Beeston Practice) ended at 10am on Monday 23 November."
    )
    assert receipt.cannot_undo == (
        "Dr Patel had already seen 1 item. "
        "What has already been read, written down or copied cannot be taken back."
    )


def test_a_receipt_for_an_unused_code_says_so() -> None:
    unused = moved(rules.end(offered(), None, NOW))
    receipt = SIGNER.receipt(unused, NOTHING_SEEN, NOW)
    assert receipt.seen == ()
    assert receipt.cannot_undo == "Nobody used this code, so there is nothing to take back."
