"""What happens in one seed: acts, calls and mishaps in an order drawn by lot, then quiet, then the checks."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

from tests.properties.simulate_checks import Quiet, violations
from tests.properties.simulate_ledger import Broken, Violation
from tests.properties.simulate_phone import SimulatedPhone
from tests.properties.simulate_server import Keys
from tests.properties.simulate_storage import FrailStorage
from tests.properties.simulate_truth import read_truth
from tests.properties.simulate_world import SKEWS, World

PHONES_MAX = 3
GRANTS_MAX = 3
GRANT_AT_FIRST = 0.6
TWO_PHONES_AT_FIRST = 0.6
STEPS = (10, 24)
TROUBLE_MAX = 0.35
QUIET_ROUNDS_MAX = 12

Step = Callable[[], Awaitable[None]]


class Outcome(NamedTuple):
    """How a seed ended."""

    seed: int
    steps: int
    violations: tuple[Violation, ...]
    trace: tuple[str, ...]
    results: tuple[str, ...]


async def run_seed(
    storage: FrailStorage, keys: Keys, seed: int, *, skews: Sequence[timedelta] = SKEWS
) -> Outcome:
    """Plays one seed to its end, or to the first thing that must not be; clocks are wrong by `skews`."""
    storage.clock_offset *= 0
    world = await World(storage, keys, seed, skews=skews).begin()
    script = Script(world)
    try:
        await script.play()
        found = await script.settle()
    except Broken as broken:
        found = (broken.violation,)
    return Outcome(seed, world.steps, tuple(found), tuple(world.trace), tuple(world.ledger.told_in_words()))


class Script:
    """Draws what happens next."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice
        self._phones: list[SimulatedPhone] = []
        self._steps: dict[Step, float] = {
            self._sync: 7,
            self._act: 12,
            self._edit_on_each_phone: 1.5,
            self._publish: 3,
            self._withhold: 1.2,
            self._release: 0.8,
            self._share: 1,
            self._join: 0.7,
            self._copy_phone: 0.6,
            self._restore_phone: 0.6,
            self._end_phone: 0.5,
            self._stop_phone: 0.5,
            self._damage_phone: 0.3,
            self._late: 0.8,
            self._jump: 0.4,
            self._keep: 0.4,
            self._restore: 0.3,
        }

    async def play(self) -> None:
        """The eventful part."""
        world = self._world
        if self._dice.random() < GRANT_AT_FIRST:
            await self._share()
        await self._join()
        if self._dice.random() < TWO_PHONES_AT_FIRST:
            await self._join()
        world.trouble = self._dice.uniform(0, TROUBLE_MAX)
        world.meanwhile = self._meanwhile
        for _ in range(self._dice.randint(*STEPS)):
            step = self._dice.choices(list(self._steps), list(self._steps.values()))[0]
            await step()
            self._look_at_phones()

    async def settle(self) -> tuple[Violation, ...]:
        """Nothing goes wrong any more, until nobody has anything to say; then what does not hold."""
        world = self._world
        world.trouble, world.meanwhile = 0.0, None
        for phone in self._phones:
            phone.calm()
        for _ in range(QUIET_ROUNDS_MAX):
            before = [phone.marks() for phone in self._phones]
            for phone in self._phones:
                await phone.sync()
            self._look_at_phones()
            if before == [phone.marks() for phone in self._phones]:
                break
        truth = await read_truth(world.storage, world.record_id, world.ledger.acts)
        for result in truth.outcomes.values():
            world.ledger.told(result)
        return tuple(violations(Quiet(truth, world.ledger, world.practice, self._phones, world.was_restored)))

    def _look_at_phones(self) -> None:
        for phone in self._phones:
            if not phone.is_ended:
                phone.check_between_steps()

    def _live(self) -> list[SimulatedPhone]:
        return [phone for phone in self._phones if not phone.is_ended]

    async def _sync(self) -> None:
        await self._dice.choice(self._phones).sync()

    async def _act(self) -> None:
        self._dice.choice(self._live()).act()

    async def _edit_on_each_phone(self) -> None:
        for phone in self._live():
            phone.edit()

    async def _publish(self) -> None:
        self._world.note("the practice publishes")
        await self._world.practice.publish(self._dice.randint(0, 3), changed=self._dice.randint(0, 2))

    async def _withhold(self) -> None:
        self._world.note("the practice withholds")
        await self._world.practice.withhold()

    async def _release(self) -> None:
        self._world.note("the practice releases")
        await self._world.practice.release()

    async def _share(self) -> None:
        if len(self._world.grants) < GRANTS_MAX:
            self._world.note("a grant comes into force")
            await self._world.share()

    async def _join(self) -> None:
        if len(self._live()) < PHONES_MAX:
            self._phones.append(SimulatedPhone(self._world, f"phone {len(self._phones) + 1}"))
            await self._phones[-1].sync()

    async def _copy_phone(self) -> None:
        self._dice.choice(self._live()).copy()

    async def _restore_phone(self) -> None:
        self._dice.choice(self._live()).restore()

    async def _end_phone(self) -> None:
        live = self._live()
        if len(live) > 1:
            await self._dice.choice(live).end()

    async def _stop_phone(self) -> None:
        self._dice.choice(self._live()).doom()

    async def _damage_phone(self) -> None:
        self._dice.choice(self._live()).damage()

    async def _late(self) -> None:
        await self._world.deliver_late()

    async def _jump(self) -> None:
        self._world.jump()

    async def _keep(self) -> None:
        await self._world.keep()

    async def _restore(self) -> None:
        if await self._world.restore():
            for phone in self._phones:
                phone.server_was_restored()

    async def _meanwhile(self) -> None:
        """Somebody else does something between two requests of a phone."""
        idle = [phone for phone in self._live() if not phone.is_busy]
        choices: list[Step] = [self._publish, self._withhold, self._release]
        if idle:
            choices.append(self._dice.choice(idle).sync)
            self._dice.choice(idle).act()
        await self._dice.choice(choices)()
