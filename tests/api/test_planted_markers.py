"""Three hundred words planted through the real front door are in no file the server leaves (THREATS i)."""

import base64
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import pytest
import zstandard

from server.settings import Settings, read_settings
from tests.api.planting import Journey, Planter, files_of
from tests.contract.test_storage_markers import every_row
from tests.markers import Found, find_in_bytes, find_in_files, marker
from tests.postgres_server import PostgresServer
from tests.server_process import free_port, server_process

PLANTED_MIN = 300
# Every statement with its values: what the server's log could come to hold at most.
TALKATIVE = {"log_statement": "all", "log_parameter_max_length_on_error": "-1", "log_min_messages": "info"}

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "UTF-8": lambda word: word,
    "UTF-16LE": lambda word: word.decode().encode("utf-16-le"),
    "UTF-16BE": lambda word: word.decode().encode("utf-16-be"),
    "base64": base64.b64encode,
    "base64, one byte on": lambda word: base64.b64encode(b"?" + word),
    "base64, two bytes on": lambda word: base64.b64encode(b"?>" + word),
    "base64url": lambda word: base64.urlsafe_b64encode(b"\xff" + word),
    "hex": lambda word: word.hex().encode(),
    "HEX": lambda word: word.hex().upper().encode(),
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "hex in zlib": lambda word: zlib.compress(word.hex().encode()),
}


@pytest.mark.slow
async def test_no_marker_is_in_any_file_of_an_installation_on_sqlite(tmp_path: Path) -> None:
    folder, temporary = _folders(tmp_path)
    settings = _settings(folder)
    plant = Planter()
    journey = Journey(settings, plant)
    await journey.prepare()
    in_use = await _walked(journey, folder, temporary, {})
    assert {"held.db", "held.db-wal"} <= {path.name for path in in_use.files}
    stopped = find_in_files([*files_of(folder), temporary])
    caught = _planted_on_purpose(folder)
    _tell("SQLite", plant, [*in_use.found, *stopped], caught=caught, files=len(in_use.files))
    assert [*in_use.found, *stopped] == []
    assert caught == len(ENCODINGS)
    assert plant.where.total() >= PLANTED_MIN


@pytest.mark.slow
@pytest.mark.postgres
async def test_no_marker_is_in_any_file_of_an_installation_on_postgresql(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    folder, temporary = _folders(tmp_path)
    own = PostgresServer(postgres_server.programs, settings=TALKATIVE)
    try:
        own.start()
        await own.prepare()
        database = await own.fresh_database()
        settings = _settings(folder, HELD_DATABASE_URL=database.app_url)
        plant = Planter()
        journey = Journey(settings, plant)
        await journey.prepare()
        in_use = await _walked(journey, folder, temporary, {"HELD_DATABASE_URL": database.app_url})
        name = database.app_url.partition("@/")[2].partition("?")[0]
        found = [*in_use.found, *find_in_bytes(await every_row(own, name), "rows")]
        await own.execute("CHECKPOINT")
        own.stop()
        found += find_in_files([own.data_folder, own.log_file, *files_of(folder), temporary])
        assert b"INSERT INTO" in own.log_file.read_bytes()
        caught = _planted_on_purpose(own.data_folder)
        _tell("PostgreSQL", plant, found, caught=caught, files=len(in_use.files))
    finally:
        own.remove()
    assert found == []
    assert caught == len(ENCODINGS)
    assert plant.where.total() >= PLANTED_MIN


@pytest.mark.parametrize("how", ENCODINGS)
def test_a_marker_written_this_way_would_be_found(how: str, tmp_path: Path) -> None:
    word = ENCODINGS[how](f"said {marker(7)} once".encode())
    (tmp_path / "file").write_bytes(os.urandom(3_000) + word + os.urandom(3_000))
    assert find_in_files([tmp_path])


class _InUse:
    """What was looked at while the server ran, and what was found there."""

    def __init__(self, files: list[Path], found: list[Found]) -> None:
        self.files = files
        self.found = found


async def _walked(journey: Journey, folder: Path, temporary: Path, more: dict[str, str]) -> _InUse:
    address = journey.settings.base_url
    environment = {"HELD_PORT": address.rpartition(":")[2], "TMPDIR": str(temporary), **more}
    async with (
        server_process(folder, **environment),
        httpx.AsyncClient(base_url=address, timeout=60) as http,
    ):
        await journey.walk(http)
        files = files_of(folder)
        assert "unexpected_error" not in (folder / "server.log").read_text()
        return _InUse(files, find_in_files([*files, temporary, *_deleted_but_open(folder)]))


def _deleted_but_open(folder: Path) -> Iterable[Path]:
    """Files without a name that a process of this installation holds open, where the system tells."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() not in (process / "environ").read_bytes():
                continue
            for handle in (process / "fd").iterdir():
                if str(handle.readlink()).endswith(" (deleted)"):
                    yield handle
        except OSError:
            continue


def _folders(tmp_path: Path) -> tuple[Path, Path]:
    folder, temporary = tmp_path / "held", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    return folder, temporary


def _settings(folder: Path, **more: str) -> Settings:
    address = f"http://127.0.0.1:{free_port()}"
    own = {"HELD_MODE": "development", "HELD_DATA_DIR": str(folder), "HELD_BASE_URL": address}
    return read_settings(own | more)


def _planted_on_purpose(folder: Path) -> int:
    """How many of the ways to write a word the search finds, in the folder it has just found nothing in."""
    caught = 0
    for number, write in enumerate(ENCODINGS.values()):
        path = folder / f"planted-on-purpose-{number}"
        word = write(f"said {marker(number)} once".encode())
        path.write_bytes(os.urandom(5_000) + word + os.urandom(5_000))
        caught += bool(find_in_files([path]))
        path.unlink()
    return caught


def _tell(database: str, plant: Planter, found: list[Found], *, caught: int, files: int) -> None:
    figures = {
        "test": "i",
        "database": database,
        "planted": plant.where.total(),
        "places": len(plant.where),
        "files": files,
        "found": len(found),
        "planted_on_purpose_caught": f"{caught}/{len(ENCODINGS)}",
    }
    print(json.dumps(figures))
