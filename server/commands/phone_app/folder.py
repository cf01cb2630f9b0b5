"""The folder a phone lives in.

`replica.db` holds the record and what waits to be sent, `phone.json` whose phone it is. `device.key` and
`signed-in.json` are for this device alone and are to be left out of backups: a folder that was put back
without them registers anew, and nothing is sent twice.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Generator, Mapping
from pathlib import Path

import msgspec

from server.commands.phone_app.refusals import NoPhone, PhoneBusy, PhoneDamaged

FOLDER_NAME = ".held-phone"
OWN_FILES = ("replica.db", "replica.db-wal", "replica.db-shm", "phone.json", "device.key", "signed-in.json")
WAIT_SECONDS_MAX = 30
_BETWEEN_TRIES_SECONDS = 0.05


class PhoneFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Whose phone this is and where its server stands."""

    base_url: str
    client_id: str
    redirect_uri: str
    subject: str
    person: str
    record_id: str
    patient_id: str
    device_name: str


class SignedIn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tokens of the last sign-in. They are bound to the device's key."""

    access_token: str
    expires_at: float
    refresh_token: str = ""
    signed_in_at: float = 0


class PhoneFolder:
    """Reads and writes one phone's files. Each is written whole or not at all, for this user alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def replica(self) -> Path:
        """Where the record is kept."""
        return self.path / "replica.db"

    @property
    def is_begun(self) -> bool:
        """Whether there is a phone here."""
        return (self.path / "phone.json").is_file()

    def facts(self) -> PhoneFacts:
        """Whose phone it is; NoPhone when there is none."""
        found = self._read("phone.json")
        if found is None:
            raise NoPhone
        try:
            return msgspec.json.decode(found, type=PhoneFacts)
        except msgspec.DecodeError as broken:
            raise PhoneDamaged(f"{self.path / 'phone.json'} cannot be read.") from broken

    def keep_facts(self, facts: PhoneFacts) -> None:
        """Writes whose phone it is: from here on there is one."""
        self._write("phone.json", msgspec.json.format(msgspec.json.encode(facts)) + b"\n")

    def signed_in(self) -> SignedIn | None:
        """The last sign-in. None when there is none, or it cannot be read: then one signs in again."""
        found = self._read("signed-in.json")
        if found is None:
            return None
        try:
            return msgspec.json.decode(found, type=SignedIn)
        except msgspec.DecodeError:
            return None

    def keep_signed_in(self, signed_in: SignedIn) -> None:
        """Keeps the newest tokens."""
        self._write("signed-in.json", msgspec.json.encode(signed_in))

    def key_pem(self) -> bytes | None:
        """This device's key as it is kept; None when there is none, or a backup came back without it."""
        return self._read("device.key")

    def keep_key_pem(self, pem: bytes) -> None:
        """Keeps a new key. The tokens of another one are of no use to it."""
        (self.path / "signed-in.json").unlink(missing_ok=True)
        self._write("device.key", pem)

    def delete(self) -> None:
        """Deletes everything the phone kept."""
        for name in OWN_FILES:
            (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """One command at a time. The lock goes with the process, however it ends."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path / "phone.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        partial = self.path / f".{name}.{os.getpid()}"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path / name)


def folder_path(said: Path | None, environ: Mapping[str, str]) -> Path:
    """The folder asked for, else the setting's, else the one in the person's home."""
    if said is not None:
        return said
    named = environ.get("HELD_PHONE_DIR")
    return Path(named) if named else Path.home() / FOLDER_NAME


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise PhoneBusy from None
            time.sleep(_BETWEEN_TRIES_SECONDS)
        else:
            return
