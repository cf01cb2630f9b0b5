"""`_elements` and `_summary` applied to stored bytes."""

import msgspec

from fhir_profiles.parse import decode, encode
from fhir_profiles.search_values import SearchQuery
from fhir_profiles.subset import is_subset, subset
from server.records.view import Rendered


def shape(item: Rendered, query: SearchQuery) -> Rendered:
    """The item cut down as the query asks; untouched, byte for byte, when it asks for all."""
    if not is_subset(query):
        return item
    return msgspec.structs.replace(item, body=encode(subset(decode(item.body), query)))
