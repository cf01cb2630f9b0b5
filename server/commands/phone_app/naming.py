"""What a person means by a name: Type/id, or words that only one item answers to."""

from collections.abc import Iterator
from typing import Any

from server.commands.phone_app.opened import OpenPhone, read_json
from server.commands.phone_app.refusals import NothingLikeIt
from server.commands.phone_app.words import line_of, title_of
from sync.overlay import Shown

# They stand behind what they belong to, and in a list of everything they would drown it.
SUPPORTING = frozenset(
    {"Device", "HealthcareService", "Location", "Medication", "Organization", "Patient", "Practitioner"}
    | {"PractitionerRole", "Provenance", "Specimen", "Substance", "RelatedPerson"}
)
OF_THEIR_OWN = frozenset({"Communication", "Consent", "List", "Task"})
"""Their titles repeat the words of what they are about."""
CANDIDATES_MAX = 10

Read = tuple[Shown, Any]
"""An item and what it says."""


def is_own(item: Shown) -> bool:
    """Whether the person recorded it."""
    return item.by == "self" and item.type == "Observation"


def item_named(phone: OpenPhone, name: str, *, only_own: bool = False) -> Shown:
    """The item; NothingLikeIt when there is none, or when the words fit several."""
    resource_type, slash, logical_id = name.strip("[]").partition("/")
    if slash:
        found = phone.engine.item(resource_type, logical_id)
        if found is None:
            raise NothingLikeIt(f"This phone holds nothing called {name[:100]}.")
        return found
    fitting = [
        (item, body)
        for item, body in with_words(phone, name)
        if item.type not in OF_THEIR_OWN and (is_own(item) or not only_own)
    ]
    if len(fitting) == 1:
        return fitting[0][0]
    if not fitting:
        raise NothingLikeIt(f"This phone holds nothing called {name[:100]}.")
    lines = [f"  {line_of(body)}" for _, body in fitting[:CANDIDATES_MAX]]
    raise NothingLikeIt("\n".join([f"Several items are called {name[:100]}. Say which:", *lines]))


def with_words(phone: OpenPhone, words: str) -> Iterator[Read]:
    """Every item in whose title the words stand."""
    wanted = words.casefold().strip()
    for item, body in everything(phone):
        if wanted and wanted in titled(phone, body).casefold():
            yield item, body


def everything(phone: OpenPhone) -> Iterator[Read]:
    """Every item that says something of itself."""
    for item in phone.engine.shown():
        if item.type not in SUPPORTING:
            yield item, read_json(item.body)


def titled(phone: OpenPhone, resource: Any) -> str:
    """What an item is called; a prescription goes by its medicine."""
    return title_of(resource) or title_of(medicine_of(phone, resource))


def medicine_of(phone: OpenPhone, resource: Any) -> Any:
    """The medicine that an item refers to; an empty resource when it refers to none."""
    reference = resource.get("medicationReference", {}).get("reference", "")
    resource_type, slash, logical_id = str(reference).partition("/")
    found = phone.engine.item(resource_type, logical_id) if slash else None
    return {} if found is None else read_json(found.body)
