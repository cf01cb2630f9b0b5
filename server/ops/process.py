"""How the Python process is set so that the event loop answers while extracts are checked beside it."""

import gc
import sys
from typing import Final

# A thread at work lets go of the interpreter this often; the default of 5 ms is felt at each step.
TURN_SECONDS: Final = 0.001
# The oldest garbage is looked for once in so many collections of the younger: 10 by default, each such walk
# as long as what is held in memory, and nothing else runs meanwhile.
COLLECTIONS_PER_WHOLE: Final = 1_000


def keep_the_loop_answering() -> None:
    """For a server, once everything is imported and made: never in tests, where frozen rubbish would pile up.

    What stands in memory now stays for good, so that the collector need not walk all of it again and again:
    one walk over the imported models takes some 100 ms in which nothing else runs.
    """
    sys.setswitchinterval(TURN_SECONDS)
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, COLLECTIONS_PER_WHOLE)
