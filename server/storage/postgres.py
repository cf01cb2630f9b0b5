"""PostgreSQL: a unit of work is one short transaction bound to one record (DESIGN section 7, THREATS rule 6).

SQLAlchemy gives the pool and runs plain functions on asyncpg; we begin and end transactions ourselves, so
that the first statement binds the tenant and reads the clock in one round trip.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar, cast

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from server.errors import Busy
from server.storage.backend import LOCK_SECONDS_MAX, STATEMENT_SECONDS_MAX, Scope, Unit, answerable
from server.storage.drivers import AsyncpgConnection, PostgresDriver
from server.storage.postgres_checks import refuse_unsafe_role
from server.storage.postgres_errors import is_busy, is_worth_another_try

T = TypeVar("T")

ATTEMPTS_MAX = 4
APPENDED_TOGETHER_MAX = 64
SNAPSHOT_SECONDS_MAX = 60

_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
_BIND = "SELECT set_config($1, $2, true), date_trunc('milliseconds', clock_timestamp())"
_SPEND = """
INSERT INTO spent_identifier AS kept (identifier_mac, expires_at) VALUES ($1, $2)
ON CONFLICT (identifier_mac) DO UPDATE SET expires_at = excluded.expires_at WHERE kept.expires_at <= $3
"""
_FORGET_SPENT = """
DELETE FROM spent_identifier WHERE identifier_mac IN
(SELECT identifier_mac FROM spent_identifier WHERE expires_at <= $1 LIMIT 1000)
"""
SPENT_BETWEEN_SWEEPS = 500


class CommandLost(Exception):
    """A command went on after a statement of its transaction had failed, so that nothing was committed."""


class ConnectionStale(Exception):
    """The server had closed a connection of the pool; another one is to be taken."""


def async_url(url: str) -> sa.URL:
    """The address with the driver we use."""
    return sa.make_url(url).set(drivername="postgresql+asyncpg")


def make_engine(url: str, connections: int) -> AsyncEngine:
    """A pool whose every connection has our time limits. Begin and commit are ours, hence AUTOCOMMIT."""
    settings = {
        "application_name": "held",
        "statement_timeout": str(STATEMENT_SECONDS_MAX * 1000),
        "lock_timeout": str(LOCK_SECONDS_MAX * 1000),
        "idle_in_transaction_session_timeout": str(SNAPSHOT_SECONDS_MAX * 1000),
        "jit": "off",
        "TimeZone": "UTC",
    }
    return create_async_engine(
        async_url(url),
        isolation_level="AUTOCOMMIT",
        pool_size=connections,
        max_overflow=0,
        pool_timeout=LOCK_SECONDS_MAX,
        pool_use_lifo=True,
        pool_reset_on_return=None,
        # An exception ends in a log, where no value may be.
        hide_parameters=True,
        connect_args={
            "server_settings": settings,
            "timeout": LOCK_SECONDS_MAX,
            "command_timeout": 2 * STATEMENT_SECONDS_MAX,
        },
    )


class PostgresSnapshot:
    """A REPEATABLE READ, READ ONLY transaction that stays open."""

    def __init__(self, connection: AsyncConnection, unit: Unit) -> None:
        self._connection = connection
        self._unit = unit

    async def run(self, work: Callable[[Unit], T]) -> T:
        """What the work answers of the snapshot's instant."""
        try:
            return await self._connection.run_sync(lambda _: work(self._unit))
        except Exception as error:
            if is_busy(error):
                raise Busy from error
            raise


class _Waiting(NamedTuple):
    work: Callable[[Unit], Any]
    answer: "asyncio.Future[Any]"


class PostgresBackend:
    """One PostgreSQL database, reached as a role that row-level security binds."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: dict[Scope, deque[_Waiting]] = {}
        self._appending: set[asyncio.Task[None]] = set()
        self._spent = 0

    @classmethod
    async def open(cls, url: str, *, connections: int) -> "PostgresBackend":
        """The database at an address; StorageUnsafe when the role or a setting is not what it must be."""
        engine = make_engine(url, connections)
        try:
            async with engine.connect() as connection:
                await connection.run_sync(refuse_unsafe_role)
        except BaseException:
            await engine.dispose()
            raise
        return cls(engine)

    async def read(self, scope: Scope, work: Callable[[Unit], T]) -> T:
        """Runs the work in one snapshot."""
        return await self._transact(_READ, scope, work)

    async def write(self, scope: Scope, work: Callable[[Unit], T]) -> T:
        """Runs the work in a transaction of its own, again when the database asks for that."""
        return await self._transact(_WRITE, scope, work)

    @asynccontextmanager
    async def snapshot(self, scope: Scope) -> AsyncGenerator[PostgresSnapshot]:
        """A snapshot on a connection of its own. Do not write while holding one: the pool is small."""
        try:
            async with self._engine.connect() as connection:
                try:
                    unit = await connection.run_sync(_begin, _READ, scope)
                    yield PostgresSnapshot(connection, unit)
                finally:
                    await connection.run_sync(_roll_back)
        except Exception as error:
            if isinstance(error, ConnectionStale) or is_busy(error):
                raise Busy from error
            raise

    async def append(self, scope: Scope, work: Callable[[Unit], T]) -> T:
        """As `write`; what waits for one record while a transaction runs shares the next one."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(scope)
        if waiting is not None:
            waiting.append(_Waiting(work, answer))
            return await answer
        self._waiting[scope] = deque([_Waiting(work, answer)])
        task = asyncio.create_task(self._append_waiting(scope))
        self._appending.add(task)
        task.add_done_callback(self._appending.discard)
        return await answer

    async def spend_identifier(self, identifier: bytes, seconds: int, ahead: float) -> bool:
        """False when spent before: one conditional insert, whose rows are counted."""
        self._spent += 1
        sweep = self._spent % SPENT_BETWEEN_SWEEPS == 0

        def spend(unit: Unit) -> bool:
            driver = _driver(unit.connection)
            now = unit.now + timedelta(seconds=ahead)
            if sweep:
                await_only(driver.execute(_FORGET_SPENT, now))
            status = await_only(driver.execute(_SPEND, identifier, now + timedelta(seconds=seconds), now))
            return status.endswith(" 1")

        return await self.write(None, spend)

    async def close(self) -> None:
        """Finishes what was accepted, and closes the pool."""
        if self._appending:
            await asyncio.wait(self._appending)
        await self._engine.dispose()

    async def _transact(self, begin: str, scope: Scope, work: Callable[[Unit], T]) -> T:
        attempt = 1
        while True:
            try:
                async with self._engine.connect() as connection:
                    return await connection.run_sync(_run, begin, scope, work)
            except ConnectionStale:
                # That one is dropped, so this ends with one that is open or with a refusal to open one.
                continue
            except Exception as error:
                if is_worth_another_try(error) and attempt < ATTEMPTS_MAX:
                    await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - spreads retries
                    attempt += 1
                    continue
                if is_busy(error):
                    raise Busy from error
                raise

    async def _append_waiting(self, scope: Scope) -> None:
        waiting = self._waiting[scope]
        try:
            while waiting:
                together = [waiting.popleft() for _ in range(min(len(waiting), APPENDED_TOGETHER_MAX))]
                wanted = [one for one in together if not one.answer.cancelled()]
                await self._append_together(scope, wanted)
        finally:
            del self._waiting[scope]
            for one in waiting:
                one.answer.cancel()

    async def _append_together(self, scope: Scope, together: list[_Waiting]) -> None:
        works = [one.work for one in together]
        try:
            outcomes = await self.write(scope, lambda unit: _run_each(unit, works))
        except Exception as error:
            outcomes = [_Outcome(None, error)] * len(together)
        for one, outcome in zip(together, outcomes, strict=True):
            if one.answer.done():
                continue
            if outcome.error is None:
                one.answer.set_result(outcome.result)
            else:
                one.answer.set_exception(answerable(outcome.error))


class _Outcome(NamedTuple):
    result: Any
    error: Exception | None


def _driver(connection: sa.Connection) -> AsyncpgConnection:
    return cast("AsyncpgConnection", connection.connection.driver_connection)


def _begin(connection: sa.Connection, begin: str, scope: Scope) -> Unit:
    """Begins a transaction bound to one record or to the directory, and reads the clock."""
    driver = _driver(connection)
    if driver.is_closed():
        connection.invalidate()
        raise ConnectionStale
    await_only(driver.execute(begin))
    setting, value = ("app.scope", "directory") if scope is None else ("app.record", str(scope))
    bound = await_only(driver.fetchrow(_BIND, setting, value))
    assert bound is not None
    now: datetime = bound[1]
    return Unit(connection, PostgresDriver(driver), now)


def _run(connection: sa.Connection, begin: str, scope: Scope, work: Callable[[Unit], T]) -> T:
    """One transaction from its beginning to its commit. A failure leaves the connection clean or closed."""
    try:
        result = work(_begin(connection, begin, scope))
        status = await_only(_driver(connection).execute("COMMIT"))
    except BaseException:
        _roll_back(connection)
        raise
    # PostgreSQL answers a COMMIT after a failed statement with ROLLBACK, and not with an error.
    if status != "COMMIT":
        raise CommandLost(CommandLost.__doc__)
    return result


def _roll_back(connection: sa.Connection) -> None:
    if connection.invalidated:
        return
    driver = _driver(connection)
    if driver.is_closed():
        return
    try:
        if driver.is_in_transaction():
            await_only(driver.execute("ROLLBACK", timeout=LOCK_SECONDS_MAX))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        driver.terminate()


def _run_each(unit: Unit, works: list[Callable[[Unit], Any]]) -> list[_Outcome]:
    """Runs each command; one that raises is undone alone, unless the database wants the whole undone."""
    if len(works) == 1:
        return [_Outcome(works[0](unit), None)]
    driver = _driver(unit.connection)
    outcomes: list[_Outcome] = []
    for work in works:
        # What failed was rolled back to its savepoint, which then serves the next command.
        if not outcomes:
            await_only(driver.execute("SAVEPOINT command"))
        elif outcomes[-1].error is None:
            await_only(driver.execute("RELEASE SAVEPOINT command; SAVEPOINT command"))
        outcomes.append(_run_one(unit, work))
    return outcomes


def _run_one(unit: Unit, work: Callable[[Unit], Any]) -> _Outcome:
    try:
        return _Outcome(work(unit), None)
    except Exception as error:
        if is_busy(error):
            raise
        await_only(_driver(unit.connection).execute("ROLLBACK TO SAVEPOINT command"))
        return _Outcome(None, error)
