"""The organisations the operator registered: those a citizen may link and whose extracts are taken."""

import msgspec

from server.storage import directory
from server.storage.engine import Storage
from server.storage.session import DirectoryReads


class Organisation(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation by its ODS code, and the name people know it by."""

    organisation: str
    name: str


_DECODER = msgspec.msgpack.Decoder(Organisation)


async def register_organisation(storage: Storage, registered: Organisation) -> None:
    """Registers an organisation, or gives it another name."""
    plain = msgspec.msgpack.encode(registered)
    await storage.register(
        lambda session: directory.put_organisation(session, registered.organisation, plain)
    )


def organisation(session: DirectoryReads, code: str) -> Organisation | None:
    """The organisation with this ODS code, if the operator registered it."""
    plain = directory.organisation(session, code)
    return _DECODER.decode(plain) if plain is not None else None


def organisations(session: DirectoryReads) -> list[Organisation]:
    """Every registered organisation, by name."""
    registered = [_DECODER.decode(plain) for plain in directory.organisations(session)]
    return sorted(registered, key=lambda one: (one.name, one.organisation))
