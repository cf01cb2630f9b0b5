"""Read, history and everything: which items each interaction picks out of a View.

https://hl7.org/fhir/R4/http.html#read, #history, https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from collections.abc import Callable

from server.errors import NotFound
from server.records.view import Choice, ItemName, Older, View

Choose = Callable[[View], Choice]


def read(view: View, resource_type: str, logical_id: str) -> Choice:
    """One item. Raises NotFound, the same for hidden and for absent."""
    item = view.find(resource_type, logical_id)
    if item is None or not view.authority.reaches(resource_type):
        raise NotFound
    return Choice(kind="read", items=(item,))


def history(view: View, resource_type: str, logical_id: str) -> Choice:
    """One item's versions.

    Only the owner gets earlier versions: an earlier one may hold what is kept back from others now.
    """
    current = read(view, resource_type, logical_id)
    older = Older((resource_type, logical_id)) if view.authority.relation == "owner" else None
    return Choice(kind="history", items=current.items, older=older)


def version(view: View, resource_type: str, logical_id: str, version_id: int) -> Choice:
    """One version. Anyone but the owner gets only the current one, and only where its number says nothing."""
    item = read(view, resource_type, logical_id).items[0]
    if item.head.version == version_id and not item.cut:
        return Choice(kind="history", items=(item,))
    if view.authority.relation != "owner":
        raise NotFound
    return Choice(kind="history", items=(), older=Older(item.name, version_id))


def everything(
    view: View, patient_id: str, *, types: frozenset[str] | None, after: ItemName, count: int
) -> Choice:
    """The next `count` items of the whole record after a place, ordered by type and id."""
    if view.find("Patient", patient_id) is None or view.authority.relation != "owner":
        raise NotFound
    names = sorted(name for name in view.items if name > after and (types is None or name[0] in types))
    items = tuple(view.items[name] for name in names[:count])
    return Choice(kind="search", items=items, more=len(names) > count, query="$everything")
