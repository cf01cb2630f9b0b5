"""Decided Views kept in memory, keyed by all they depend on, so that nothing stale can be served.

The head seq and the grant's version are read afresh on every request and are part of the key (DESIGN wall 3).
"""

from collections import OrderedDict

from server.records.view import VisibleItems

CACHE_BYTES_MAX = 64 * 1024 * 1024
# A head with its references and index values, as measured on UK-Core-shaped items.
_BYTES_PER_ITEM = 2_000

CacheKey = tuple[object, ...]


class ViewCache:
    """Least recently used decided Views, 64 MB at most."""

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._kept: OrderedDict[CacheKey, VisibleItems] = OrderedDict()
        self._bytes_max = bytes_max
        self._bytes = 0

    def get(self, key: CacheKey) -> VisibleItems | None:
        """The decided items under this key, if they are still here."""
        items = self._kept.get(key)
        if items is not None:
            self._kept.move_to_end(key)
        return items

    def put(self, key: CacheKey, items: VisibleItems) -> None:
        """Keeps decided items, dropping the least recently used beyond the bound."""
        if key in self._kept:
            return
        self._kept[key] = items
        self._bytes += _size(items)
        while self._bytes > self._bytes_max and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _size(dropped)


def _size(items: VisibleItems) -> int:
    return _BYTES_PER_ITEM * (len(items) + 1)
