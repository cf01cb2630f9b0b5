"""Phones come and go: registering one, listing them, ending one, and its word that it holds nothing more."""

from base64 import urlsafe_b64encode
from uuid import UUID, uuid4

import msgspec

from server.audit import service as audit
from server.audit.entry import Kind, LogEntry, Who
from server.devices_sync import store
from server.devices_sync.device import (
    DEVICES_MAX,
    NAME_CHARACTERS_MAX,
    NAMELESS,
    WORD_CHARACTERS_MAX,
    Device,
)
from server.devices_sync.limits import LIMITS
from server.errors import Conflict, DeviceEnded, Forbidden, LimitReached, NotFound, RuleBroken
from server.identity.authenticate import require_recent_sign_in
from server.identity.devices import require_live_key
from server.identity.tokens import Jwk, TokenRefused, thumbprint, verifying_key
from server.sharing import sentences
from server.sharing.authority import Authority
from server.storage import feed_digest
from server.storage.directory_devices import (
    ENDED,
    device_of_key,
    end_device_key,
    put_device_key,
    wipe_device_key,
)
from server.storage.engine import Storage
from server.storage.session import WriteSession
from sync.messages import Registered, Registration


class Devices:
    """The phones of records."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def register(self, authority: Authority, registration: Registration) -> Registered:
        """The phone of the caller's key, new or known. The key is one device's for as long as that lives.

        StepUpNeeded for a new phone when the citizen signed in too long ago, Forbidden when the key is not
        the one the token is bound to, RuleBroken for what cannot be kept, LimitReached when there are ten.
        """
        _require_own_key(authority, registration)
        _require_short(registration)
        if authority.device_id is None:
            now = await self._storage.look_up(lambda session: session.now)
            require_recent_sign_in(authority.principal, now)
        device_id = authority.device_id or await self._claim(authority)
        return await self._storage.write(
            authority.record_id, lambda session: _register(session, authority, registration, device_id)
        )

    async def every(self, authority: Authority) -> list[Device]:
        """The phones that may come, oldest first."""
        found = await self._storage.read(authority.record_id, store.devices)
        return [device for device in found if device.state == "live"]

    async def end(self, authority: Authority, device_id: UUID) -> None:
        """Ends a phone's access at once, for its syncing and for every token its key is bound to.

        Ending again changes nothing. NotFound when the record has no such phone.
        """
        device = await self._storage.write(
            authority.record_id, lambda session: _end(session, authority, device_id)
        )
        await self._storage.register(lambda session: end_device_key(session, device.jkt, device_id))

    async def confirm_wiped(self, record_id: UUID, jkt: str) -> None:
        """An ended phone says that it holds nothing more. NotFound from anybody else."""
        found = await self._storage.look_up(lambda session: device_of_key(session, jkt))
        if found is None or found.record_id != record_id or found.state != ENDED:
            raise NotFound
        await self._storage.write(record_id, lambda session: _note_wiped(session, found.device_id))
        await self._storage.register(lambda session: wipe_device_key(session, jkt, found.device_id))

    async def _claim(self, authority: Authority) -> UUID:
        """The directory is claimed first: two registrations at once agree on one device."""
        jkt, record_id, device_id = authority.principal.jkt, authority.record_id, uuid4()
        claimed = await self._storage.register(
            lambda session: put_device_key(session, jkt, record_id, device_id)
        )
        require_live_key(claimed)
        if claimed.record_id != record_id:
            raise Conflict("This key belongs to a phone of another record.")
        return claimed.device_id


def _require_own_key(authority: Authority, registration: Registration) -> None:
    try:
        jwk = msgspec.convert(registration.key, Jwk)
        verifying_key(jwk, "EdDSA" if jwk.kty == "OKP" else "ES256")
    except (msgspec.ValidationError, TokenRefused):
        raise RuleBroken("This is not a public key we can use.", pointer="/key") from None
    if thumbprint(jwk) != authority.principal.jkt:
        raise Forbidden("Register the key that your token is bound to.")


def _require_short(registration: Registration) -> None:
    for member, text, most in (
        ("name", registration.name, NAME_CHARACTERS_MAX),
        ("platform", registration.platform, WORD_CHARACTERS_MAX),
        ("appVersion", registration.app_version, WORD_CHARACTERS_MAX),
    ):
        if len(text) > most:
            raise RuleBroken(f"This can have {most} characters.", pointer=f"/{member}")


def _register(
    session: WriteSession, authority: Authority, registration: Registration, device_id: UUID
) -> Registered:
    session.lock_record()
    # A record from before there were phones has no digest yet.
    feed_digest.ensure_digest(session)
    known = store.device(session, device_id)
    if known is None:
        # The directory may know the key of a phone that was refused: only the record says whether it is one.
        require_recent_sign_in(authority.principal, session.now)
        _add(session, authority, registration, device_id)
    elif known.device.state != "live":
        raise DeviceEnded
    else:
        store.put_device(session, _told(known.device, registration), known.pulled_seq)
    return _registered(session, device_id)


def _add(session: WriteSession, authority: Authority, registration: Registration, device_id: UUID) -> None:
    if sum(device.state == "live" for device in store.devices(session)) >= DEVICES_MAX:
        raise LimitReached(f"{DEVICES_MAX} phones can keep a copy. End the access of one first.")
    new = Device(
        device_id=device_id,
        owner=authority.who,
        jkt=authority.principal.jkt,
        name=NAMELESS,
        added_at=session.now,
        seen_at=session.now,
    )
    device = _told(new, registration)
    store.put_device(session, device, 0)
    _log(session, authority.who, "sync", sentences.device_added_line(device.name))


def _told(device: Device, registration: Registration) -> Device:
    """The phone with what it now says of itself."""
    return msgspec.structs.replace(
        device,
        name=registration.name.strip() or device.name,
        platform=registration.platform or device.platform,
        app_version=registration.app_version or device.app_version,
        schema_version=registration.schema_version,
    )


def _registered(session: WriteSession, device_id: UUID) -> Registered:
    epoch = feed_digest.standing(session).epoch
    key = urlsafe_b64encode(feed_digest.digest_key(session.sealer)).rstrip(b"=").decode("ascii")
    return Registered(device_id=str(device_id), epoch=f"{epoch:016x}", limits=LIMITS, digest_key=key)


def _end(session: WriteSession, authority: Authority, device_id: UUID) -> Device:
    session.lock_record()
    known = store.device(session, device_id)
    if known is None:
        raise NotFound
    if known.device.state != "live":
        return known.device
    ended = msgspec.structs.replace(known.device, state="ended", ended_at=session.now)
    store.put_device(session, ended, known.pulled_seq)
    _log(session, authority.who, "end", sentences.device_ended_line(ended.name))
    return ended


def _note_wiped(session: WriteSession, device_id: UUID) -> None:
    session.lock_record()
    known = store.device(session, device_id)
    if known is None or known.device.state == "wiped":
        return
    store.put_device(session, msgspec.structs.replace(known.device, state="wiped"), known.pulled_seq)
    _log(session, known.device.owner, "end", sentences.device_wiped_line(known.device.name))


def _log(session: WriteSession, who: Who, kind: Kind, sentence: str) -> None:
    audit.add(session, LogEntry(kind=kind, who=who, sentence=sentence))
