"""One server at a time on a SQLite file, and no worker that outlives the process that started it.

A second server would not know which proofs the first has seen used, and a worker left behind by a kill would
go on answering beside the server that was started in its place.
"""

import fcntl
import os
import signal
import threading
import time
from pathlib import Path
from typing import IO

from server.storage.backend import StorageUnsafe

SECONDS_BETWEEN_LOOKS = 0.1
# What a server that is ending needs to let go.
WAIT_SECONDS_MAX = 20


class OneServer:
    """The right to serve one SQLite database, held until `release` or the end of the process."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.serving")
        self._file: IO[bytes] | None = None

    def take(self, *, seconds: float = WAIT_SECONDS_MAX) -> None:
        """Waits for the right; StorageUnsafe when another server keeps it for longer than `seconds`."""
        file = self._path.open("ab")
        until = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    file.close()
                    raise StorageUnsafe(
                        "Another server is using this database. Stop it first, or set HELD_DATA_DIR."
                    ) from None
                time.sleep(SECONDS_BETWEEN_LOOKS)
            else:
                self._file = file
                return

    def release(self) -> None:
        """Lets another server have it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def end_with_parent() -> None:
    """Ends this process at once when the one that started it is gone, even if that was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
