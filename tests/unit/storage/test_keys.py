import base64
import os
from uuid import uuid4

import pytest

from server.storage.keys import KeyFile, KeyUnusable
from server.storage.sealing import KEY_BYTES, SealBroken


def write(path, text: str, mode: int = 0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def line(kind: str, key: bytes | None = None) -> str:
    return f"{kind} {base64.b64encode(key or os.urandom(KEY_BYTES)).decode()}\n"


async def test_a_record_key_is_wrapped_and_unwrapped_for_its_record_alone(tmp_path):
    keys = KeyFile.create(tmp_path / "key")
    record_id, key = uuid4(), os.urandom(KEY_BYTES)
    wrapped = await keys.wrap(record_id, key)
    assert key not in wrapped
    assert await keys.unwrap(record_id, wrapped) == key
    with pytest.raises(SealBroken):
        await keys.unwrap(uuid4(), wrapped)
    for position in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            await keys.unwrap(record_id, bytes(changed))


async def test_the_file_opens_again_with_the_same_keys(tmp_path):
    created = KeyFile.create(tmp_path / "key")
    opened = KeyFile.open(tmp_path / "key")
    record_id, key = uuid4(), os.urandom(KEY_BYTES)
    assert await opened.unwrap(record_id, await created.wrap(record_id, key)) == key
    assert opened.secret("directory") == created.secret("directory")
    assert opened.secret("directory") != opened.secret("tokens")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


async def test_a_new_wrapping_key_leaves_the_old_one_s_records_readable(tmp_path):
    path = tmp_path / "key"
    old = KeyFile.create(path)
    record_id, key = uuid4(), os.urandom(KEY_BYTES)
    wrapped = await old.wrap(record_id, key)
    write(path, line("wrap newer001") + path.read_text())
    new = KeyFile.open(path)
    assert await new.unwrap(record_id, wrapped) == key
    assert (await new.wrap(record_id, key)).startswith(b"newer001")
    assert new.secret("directory") == old.secret("directory")


async def test_a_record_whose_wrapping_key_was_taken_away_does_not_open(tmp_path):
    record_id = uuid4()
    wrapped = await KeyFile.create(tmp_path / "one").wrap(record_id, os.urandom(KEY_BYTES))
    with pytest.raises(SealBroken):
        await KeyFile.create(tmp_path / "two").unwrap(record_id, wrapped)


def test_a_key_file_is_never_written_over(tmp_path):
    KeyFile.create(tmp_path / "key")
    with pytest.raises(FileExistsError):
        KeyFile.create(tmp_path / "key")


ONE_KEY = os.urandom(KEY_BYTES)
REFUSED = {
    "empty": "",
    "no wrapping key": line("installation"),
    "no installation key": line("wrap key00001"),
    "two installation keys": line("wrap key00001") + line("installation") * 2,
    "one key for both": line("wrap key00001", ONE_KEY) + line("installation", ONE_KEY),
    "short": line("wrap key00001", os.urandom(31)) + line("installation"),
    "long": line("wrap key00001", os.urandom(33)) + line("installation"),
    "not base64": "wrap key00001 ***\n" + line("installation"),
    "a name of the wrong length": line("wrap key1") + line("installation"),
    "zeros": line("wrap key00001", bytes(32)) + line("installation"),
    "one byte": line("wrap key00001") + line("installation", b"x" * 32),
    "words": line("wrap key00001") + line("installation", b"this is not a random key at all!"),
    "counting": line("wrap key00001", bytes(range(32))) + line("installation"),
    "counting down": line("wrap key00001", bytes(range(255, 223, -1))) + line("installation"),
    "another line": line("wrap key00001") + line("installation") + "more\n",
    "not text": "wrap key00001 ÿ\n",
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_key_file_is_refused_when(tmp_path, fault):
    with pytest.raises(KeyUnusable) as refused:
        KeyFile.open(write(tmp_path / "key", REFUSED[fault]))
    assert base64.b64encode(ONE_KEY).decode() not in str(refused.value)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644, 0o666, 0o601, 0o610])
def test_a_key_file_that_others_may_use_is_refused(tmp_path, mode):
    path = write(tmp_path / "key", line("wrap key00001") + line("installation"), mode)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        KeyFile.open(path)


def test_a_key_file_that_is_not_there_or_not_a_file_is_refused(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(KeyUnusable):
            KeyFile.open(path)
