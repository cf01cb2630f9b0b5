"""The one writer of a SQLite database: commands of many requests share one transaction and one fsync.

A batch is whatever waits when the last commit ends, so that batches form while the disk works and nobody is
kept waiting for one to fill. Each command has a savepoint: one that raises is undone alone.
"""

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from server.errors import Busy
from server.storage.backend import COMMANDS_PER_COMMIT_MAX, Unit, answerable

# A batch that has run this long commits, so that a large command delays its neighbours' answers only once.
BATCH_SECONDS_MAX = 0.02
IDLE_SECONDS_BEFORE_CHECKPOINT = 1.0


class Job:
    """One waiting command and where its outcome goes."""

    __slots__ = ("error", "result", "waiting", "work")

    def __init__(self, work: Callable[[Unit], Any], waiting: "asyncio.Future[Any]") -> None:
        self.work = work
        self.waiting = waiting
        self.result: Any = None
        self.error: BaseException | None = None


class SqliteWriter:
    """Runs commands in order on a thread of its own, and answers only after their commit."""

    def __init__(self, connection: sqlite3.Connection, begin: Callable[[], Unit]) -> None:
        self._connection = connection
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[Job] = deque()
        self._work_is_here = threading.Condition()
        self._is_closing = False
        self._has_written = False
        self._thread = threading.Thread(target=self._run, name="held-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Unit], Any]) -> "asyncio.Future[Any]":
        """The outcome of the command, once its transaction has committed."""
        if self._is_closing:
            raise Busy("We are shutting down. Try again shortly.")
        job = Job(work, self._loop.create_future())
        with self._work_is_here:
            self._jobs.append(job)
            if len(self._jobs) == 1:
                self._work_is_here.notify()
        return job.waiting

    async def close(self) -> None:
        """Runs what was accepted, then ends the thread."""
        with self._work_is_here:
            self._is_closing = True
            self._work_is_here.notify()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while batch := self._next_batch():
            done = self._run_batch(batch)
            self._loop.call_soon_threadsafe(_answer, done)

    def _next_batch(self) -> list[Job]:
        """The commands to run next; empty when the writer is closing and none are left."""
        while True:
            with self._work_is_here:
                if not self._jobs and not self._is_closing:
                    timeout = IDLE_SECONDS_BEFORE_CHECKPOINT if self._has_written else None
                    self._work_is_here.wait(timeout)
                batch = [self._jobs.popleft() for _ in range(min(len(self._jobs), COMMANDS_PER_COMMIT_MAX))]
                if batch or self._is_closing:
                    return batch
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Moves what the log holds into the database while nobody waits for the writer."""
        if self._has_written:
            self._has_written = False
            # It is tried again after the next write; until then the log keeps what it holds.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _run_batch(self, batch: list[Job]) -> list[Job]:
        """Runs the batch's commands under one commit; those the time did not reach go back to the front."""
        done: list[Job] = []
        self._has_written = True
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            # Every command here was waiting before this, so that one reading of the clock is theirs.
            unit = self._begin()
            stop_at = time.monotonic() + BATCH_SECONDS_MAX
            while batch and (not done or time.monotonic() < stop_at):
                done.append(batch.pop(0))
                self._run_job(done[-1], unit)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if not done:
                done, batch = batch, []
            self._fail(done, error)
        if batch:
            with self._work_is_here:
                self._jobs.extendleft(reversed(batch))
        return done

    def _run_job(self, job: Job, unit: Unit) -> None:
        if job.waiting.cancelled():
            return
        self._connection.execute("SAVEPOINT command")
        try:
            job.result = job.work(unit)
        except BaseException as error:
            job.error = answerable(error)
            self._connection.execute("ROLLBACK TO command")
        self._connection.execute("RELEASE command")

    def _fail(self, jobs: list[Job], error: sqlite3.Error) -> None:
        """The transaction is lost, and with it every command it carried."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for job in jobs:
            if job.error is None:
                job.error = Busy()
                job.error.__cause__ = error


def _answer(jobs: list[Job]) -> None:
    for job in jobs:
        if job.waiting.done():
            continue
        if job.error is None:
            job.waiting.set_result(job.result)
        else:
            job.waiting.set_exception(job.error)
