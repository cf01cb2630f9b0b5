"""What the server keeps beside each item so that it can decide and search without opening the body.

A head is sealed at rest. Every verdict of a View and every search is drawn from heads alone.
"""

from typing import Literal, get_args

import msgspec

Category = Literal[
    "medicines",
    "allergies",
    "problems",
    "results",
    "immunisations",
    "consultations",
    "documents",
    "procedures",
    "care-plan",
    "needs",
    "self-recorded",
    "contact",
]
SensitiveClass = Literal[
    "mental-health", "sexual-health", "drugs-alcohol", "abuse-safeguarding", "hiv", "genetics"
]
CATEGORIES: tuple[str, ...] = get_args(Category)
SENSITIVE_CLASSES: tuple[str, ...] = get_args(SensitiveClass)


class Labels(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The categories and sensitive classes of one item, with the names of the rules that set them.

    `parts` names categories that only parts of the item belong to: "contact" when it carries an address
    or a telephone number, which are cut out for readers without that category.
    """

    categories: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    fired: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


class HeldReference(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One literal reference of an item: where it stands (FHIRPath without indexes) and what it names.

    `resource_type` and `logical_id` are empty when the reference cannot name an item of this record
    (absolute URL elsewhere, unresolved `urn:uuid:`, conditional reference). References to `#contained`
    resources are not listed; the references inside contained resources are.
    `is_needed` means that the item cannot stand once every reference at this path has been cut.
    """

    path: str
    resource_type: str
    logical_id: str
    is_needed: bool = False


class Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All that is decided and searched on for one version of one item.

    `dated` is the clinical date used by date windows and sorting: ISO text as sent, or "" when there is none.
    `is_current` is True for active problems, current medicines, and every allergy (DESIGN section 5).
    `search` maps a search parameter's name to its index values (see search_values.py).
    `content_hash` is the SHA-256 of the served content without `meta.versionId` and `meta.lastUpdated`.
    `source` is (extract_id, offset, length) of the bytes this version came from, or None when we authored it.
    """

    resource_type: str
    logical_id: str
    version: int
    last_updated: str
    labels: Labels
    rules_version: int
    dated: str
    is_current: bool
    references: tuple[HeldReference, ...]
    search: dict[str, tuple[str, ...]]
    content_hash: bytes
    title: str
    source: tuple[str, int, int] | None = None
    organisation: str = ""


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Head)


def encode_head(head: Head) -> bytes:
    """The head as bytes, ready to be sealed."""
    return _ENCODER.encode(head)


def decode_head(encoded: bytes) -> Head:
    """The head again; msgspec.DecodeError when the bytes are not one."""
    return _DECODER.decode(encoded)
