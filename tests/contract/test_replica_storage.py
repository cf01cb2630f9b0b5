"""What every storage of a phone does alike: in memory, and in the reference phone's SQLite file."""

import contextlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.commands.phone_app.refusals import PhoneDamaged
from server.commands.phone_app.store import SqliteStorage
from sync.memory import MemoryStorage
from sync.ports import SHELVES, Storage

KEYS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=6)


class PowerCut(BaseException):
    """Ends a transaction from outside, as no `except Exception` would notice."""


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "memory":
        yield MemoryStorage()
        return
    made = SqliteStorage(tmp_path / "replica.db")
    yield made
    made.close()


def test_what_was_kept_is_there_in_the_next_transaction(storage: Storage) -> None:
    with storage.transaction() as step:
        step.put("row", "a", b"one")
        assert step.get("row", "a") == b"one"
    with storage.transaction() as step:
        assert step.get("row", "a") == b"one"
        step.put("row", "a", b"two")
    with storage.transaction() as step:
        assert step.get("row", "a") == b"two"
        assert step.get("row", "b") is None
        assert step.get("outbox", "a") is None


def test_bytes_come_back_as_they_were(storage: Storage) -> None:
    every = bytes(range(256)) * 3
    with storage.transaction() as step:
        step.put("value", "all", every)
        step.put("value", "", b"")
    with storage.transaction() as step:
        assert step.get("value", "all") == every
        assert step.get("value", "") == b""
        assert isinstance(step.get("value", ""), bytes)


@pytest.mark.parametrize("how", [RuntimeError, PowerCut, KeyboardInterrupt])
def test_a_step_that_is_left_leaves_nothing(storage: Storage, how: type[BaseException]) -> None:
    with storage.transaction() as step:
        step.put("row", "a", b"before")
        step.put("outbox", "m", b"waits")

    def leave() -> None:
        with storage.transaction() as step:
            step.put("row", "a", b"after")
            step.delete("outbox", "m")
            step.clear("row")
            step.put("attention", "x", b"new")
            raise how

    with pytest.raises(how):
        leave()
    with storage.transaction() as step:
        assert step.get("row", "a") == b"before"
        assert step.get("outbox", "m") == b"waits"
        assert step.get("attention", "x") is None


def test_taking_away_and_emptying_reach_one_shelf_alone(storage: Storage) -> None:
    with storage.transaction() as step:
        for shelf in SHELVES:
            step.put(shelf, "a", b"1")
            step.put(shelf, "b", b"2")
    with storage.transaction() as step:
        step.delete("row", "a")
        step.delete("row", "never there")
        step.clear("held")
    with storage.transaction() as step:
        assert list(step.scan("row")) == [("b", b"2")]
        assert list(step.scan("held")) == []
        for shelf in set(SHELVES) - {"row", "held"}:
            assert list(step.scan(shelf)) == [("a", b"1"), ("b", b"2")]


def test_a_scan_is_in_order_and_may_be_written_under(storage: Storage) -> None:
    keys = ["a/1", "a/2", "a/\U0010ffff", "a0", "b", "a", "\ud7ff", "\ue000", "a/\u00e9"]
    with storage.transaction() as step:
        for key in keys:
            step.put("row", key, key.encode())
    with storage.transaction() as step:
        assert [key for key, _ in step.scan("row")] == sorted(keys)
        for key, value in step.scan("row", "a/"):
            assert value == key.encode()
            step.delete("row", key)
            step.put("row", key + "x", b"")
        assert [key for key, _ in step.scan("row", "a/")] == sorted(
            f"{key}x" for key in keys if key.startswith("a/")
        )


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(KEYS, max_size=12), prefix=KEYS)
def test_a_prefix_finds_exactly_the_keys_that_begin_so(
    kind: str, keys: set[str], prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    makes: dict[str, Callable[[], Storage]] = {
        "memory": MemoryStorage,
        "sqlite": lambda: SqliteStorage(tmp_path_factory.mktemp("phone") / "replica.db"),
    }
    storage = makes[kind]()
    keys |= {prefix, prefix + chr(sys.maxunicode)}
    with storage.transaction() as step:
        for key in keys:
            step.put("row", key, b"")
    with storage.transaction() as step:
        assert [key for key, _ in step.scan("row", prefix)] == sorted(k for k in keys if k.startswith(prefix))
    if isinstance(storage, SqliteStorage):
        storage.close()


def test_transactions_never_overlap(storage: Storage) -> None:
    with storage.transaction(), pytest.raises(AssertionError), storage.transaction():
        pass
    with storage.transaction() as step:
        step.put("row", "a", b"still works")


def test_the_file_is_opened_again_with_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "replica.db"
    first = SqliteStorage(path)
    with first.transaction() as step:
        step.put("row", "a", b"1")
    # The first is left open, as by a process that was killed.
    second = SqliteStorage(path)
    with second.transaction() as step:
        assert step.get("row", "a") == b"1"
    second.close()
    first.close()


def test_only_the_owner_of_the_file_may_read_it(tmp_path: Path) -> None:
    SqliteStorage(tmp_path / "replica.db").close()
    assert (tmp_path / "replica.db").stat().st_mode & 0o777 == 0o600


def test_what_was_taken_away_leaves_no_bytes_behind(tmp_path: Path) -> None:
    path = tmp_path / "replica.db"
    storage = SqliteStorage(path)
    with storage.transaction() as step:
        step.put("row", "a", b"SECRETWORD" * 500)
    with storage.transaction() as step:
        step.delete("row", "a")
    storage.close()
    assert b"SECRETWORD" not in path.read_bytes()
    assert not path.with_name("replica.db-wal").exists()


@pytest.mark.parametrize(
    "content", [b"not a database, though long enough" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_file_that_is_no_replica_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "replica.db"
    path.write_bytes(content)
    with pytest.raises(PhoneDamaged, match=r"replica\.db"):
        SqliteStorage(path)


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "replica.db"
    SqliteStorage(path).close()
    with contextlib.closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version=99")
    with pytest.raises(PhoneDamaged, match="another version"):
        SqliteStorage(path)
