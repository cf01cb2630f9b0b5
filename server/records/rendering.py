"""Bodies as one reader gets them: as stored, or cut to what the View holds (DESIGN wall 5)."""

from fhir_profiles import served
from server.records.marks import marked
from server.records.view import ItemName, Rendered, VisibleItem
from server.storage.sealing import Sealer


def render(item: VisibleItem, body: bytes, sealer: Sealer) -> Rendered:
    """The item for this reader. A cut one has an ETag of its own and no version or date."""
    shown = served.render_for_reader(body, item.cut)
    if item.is_questioned:
        shown = marked(shown)
    if item.cut:
        etag = f'W/"r-{sealer.mac("etag", shown).hex()}"'
        return Rendered(name=item.name, version=item.version, body=shown, etag=etag, last_updated=None)
    last_updated = item.head.last_updated
    return whole(item.name, item.version, shown, last_updated, is_questioned=item.is_questioned)


def whole(
    name: ItemName, version: int, body: bytes, last_updated: str, *, is_questioned: bool = False
) -> Rendered:
    """A version exactly as it is stored, or with the mark of a questioned item and an ETag of its own."""
    etag = f'W/"{version}-questioned"' if is_questioned else f'W/"{version}"'
    return Rendered(name=name, version=version, body=body, etag=etag, last_updated=last_updated)
