"""What a phone asks, in how many calls, and what it makes of refusals, silence and differences."""

from datetime import timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.kept import Row, put_row
from sync.messages import Limits
from sync.phone import Draft, NotPossible
from sync.ports import SHELVES, Answer, SignInNeeded
from sync.signed_note import Checkpoint, sign_checkpoint
from tests.unit.sync.phones import Hand, new_phone, observation, same
from tests.unit.sync.reference_server import LOG_ID, NAME, Server, problem

CONDITION = b'{"resourceType":"Condition"}'


def server_with(count: int) -> Server:
    server = Server()
    for number in range(count):
        server.put("Condition", str(number), CONDITION)
    server.log_entry("Dr Patel looked")
    return server


async def synced(server: Server) -> Hand:
    hand = new_phone(server)
    report = await hand.phone.sync()
    assert report.trouble is None
    server.requests.clear()
    return hand


async def test_a_first_load_of_five_thousand_items_takes_seven_calls_and_is_proved():
    server = server_with(5_000)
    hand = new_phone(server)
    report = await hand.phone.sync()
    assert len(server.requests) == 7
    assert report.received == 5_000
    assert same(hand, server)
    assert report.status.sentence == "up to date, proved at 14:02"


async def test_an_idle_phone_asks_once_and_gets_an_empty_answer():
    server = server_with(3)
    hand = await synced(server)
    hand.clock.at += timedelta(hours=1)
    report = await hand.phone.sync()
    assert server.requests == ["GET /changes"]
    assert report.status.sentence == "up to date, proved at 15:02"


async def test_a_checkpoint_that_grew_old_is_renewed():
    server = server_with(3)
    hand = await synced(server)
    for hours, said in ((13, "2026-11-23T03:00:00.000Z"), (1, "2026-11-23T03:00:00.000Z")):
        hand.clock.at += timedelta(hours=hours)
        server.signed_at = said
        await hand.phone.sync()
        pin = hand.phone.pin()
        assert pin is not None
        assert said in pin.note
    asked = [headers for path, headers, _ in hand.wire.sent if "changes" in path][-2:]
    assert ["if-none-match" in headers for headers in asked] == [False, True]


async def test_somebodys_look_is_not_missed_by_a_phone_with_nothing_new():
    server = server_with(3)
    hand = await synced(server)
    server.log_entry("Ms Green looked")
    await hand.phone.sync()
    assert server.requests == ["GET /changes", "GET /log"]
    assert len(hand.phone.log_entries()) == 2


async def test_fifty_acts_go_and_come_back_in_one_call():
    server = server_with(3)
    hand = await synced(server)
    for _ in range(50):
        hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    assert hand.phone.status().sentence == "50 changes waiting, last proved at 14:02"
    report = await hand.phone.sync()
    assert server.requests == ["POST /mutations"]
    assert report.status.sentence == "up to date, proved at 14:02"
    assert same(hand, server)


async def test_pushes_keep_to_the_limits_and_are_halved_when_told():
    server = server_with(1)
    hand = await synced(server)
    server.limits = Limits(mutations_per_push=10)
    for _ in range(30):
        hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    report = await hand.phone.sync()
    assert report.status.waiting == 0
    assert len(server.effects) == 30
    assert same(hand, server)


async def test_an_act_too_large_for_the_server_is_shown_and_does_not_stop_the_others():
    server = server_with(1)
    hand = await synced(server)
    server.limits = Limits(push_bytes=2_000)
    large = hand.phone.write(
        Draft(op="create", type="Observation", body=observation(note=[{"text": "x" * 3_000}]))
    )
    waits = hand.phone.write(Draft(op="create", type="Observation", body=observation(), after=large.mid))
    small = hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    report = await hand.phone.sync()
    concerns = {one.mutation.mid: one.result for one in hand.phone.concerns()}
    assert concerns[large.mid].outcome == "rejected"
    assert concerns[waits.mid].outcome == "blocked"
    assert small.mid in server.effects
    assert report.status.sentence.startswith("up to date")
    assert report.status.sentence.endswith("2 changes in need of your attention")


async def test_a_group_that_is_too_large_is_refused_whole():
    server = server_with(1)
    hand = await synced(server)
    server.limits = Limits(mutations_per_push=2)
    for _ in range(3):
        hand.phone.write(Draft(op="create", type="Observation", body=observation(), txn="visit"))
    await hand.phone.sync()
    assert len(hand.phone.concerns()) == 3
    assert server.effects == []


async def test_what_is_larger_than_a_resource_may_be_is_refused_at_once():
    hand = await synced(server_with(1))
    body = observation(note=[{"text": "x" * Limits().resource_bytes}])
    with pytest.raises(NotPossible):
        hand.phone.write(Draft(op="create", type="Observation", body=body))


async def test_a_busy_server_is_asked_again_when_it_says_so():
    server = server_with(1)
    hand = await synced(server)
    hand.wire.answers["changes"] = [problem(503, "behind", retry_after=7)]
    report = await hand.phone.sync()
    assert report.trouble is None
    assert 7 <= hand.clock.pauses[0] < 14


async def test_a_server_that_asks_for_too_much_patience_is_left_alone():
    server = server_with(1)
    hand = await synced(server)
    hand.wire.answers["changes"] = [problem(429, "slow", retry_after=600)]
    report = await hand.phone.sync()
    assert (report.trouble, hand.clock.pauses) == ("slow", [])
    assert report.status.sentence == "last proved at 14:02"


async def test_a_push_that_is_put_off_does_not_stop_the_pull():
    server = server_with(1)
    hand = await synced(server)
    server.put("Condition", "new", CONDITION)
    hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    hand.wire.answers["mutations"] = [problem(503, "slow", retry_after=600)]
    report = await hand.phone.sync()
    assert report.trouble == "slow"
    assert hand.phone.item("Condition", "new") is not None
    assert report.status.waiting == 1


async def test_silence_leaves_everything_as_it_was():
    server = server_with(1)
    hand = await synced(server)
    hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    hand.wire.fault = lambda n: "lost"
    report = await hand.phone.sync()
    assert report.trouble == "no-answer"
    assert report.status.sentence == "1 change waiting, last proved at 14:02"


async def test_a_person_who_has_to_sign_in_again_is_told():
    hand = await synced(server_with(1))

    async def signed_out(*_: object) -> Answer:
        raise SignInNeeded

    hand.wire.call = signed_out
    assert (await hand.phone.sync()).trouble == "sign-in"


async def test_one_exchange_at_a_time():
    hand = await synced(server_with(1))
    reports = []

    async def meanwhile(*_: object) -> Answer:
        reports.append(await hand.phone.sync())
        return Answer(status=304)

    hand.wire.call = meanwhile
    assert (await hand.phone.sync()).trouble is None
    assert [report.trouble for report in reports] == ["busy"]


async def test_an_app_that_is_too_old_is_told():
    hand = await synced(server_with(1))
    hand.wire.answers["changes"] = [problem(426, "upgrade")]
    assert (await hand.phone.sync()).trouble == "upgrade"


async def test_any_other_refusal_is_named():
    hand = await synced(server_with(1))
    hand.wire.answers["changes"] = [Answer(status=500, body=b"not even JSON")]
    assert (await hand.phone.sync()).trouble == "500"


async def test_a_reset_loads_everything_anew_and_leaves_the_outbox_alone():
    server = server_with(3)
    hand = await synced(server)
    server.gone("Condition", "1")
    server.floor = server.head
    first = hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    hand.wire.answers["mutations"] = [problem(410, "reset")]
    report = await hand.phone.sync()
    assert report.trouble is None
    assert server.effects == [first.mid]
    assert same(hand, server)
    assert server.requests.count("GET /snapshot") == 1


async def test_the_old_rows_are_shown_until_the_new_ones_are_all_here():
    server = server_with(3)
    server.segment_seqs = 2
    hand = await synced(server)
    server.floor = server.head + 1
    hand.wire.fault = lambda n: "lost" if server.requests.count("GET /segments/7-0") else None
    report = await hand.phone.sync()
    assert report.status.is_loading
    assert len(hand.phone.shown()) == 3
    server.floor = 0
    hand.wire.fault = lambda n: None
    server.requests.clear()
    assert (await hand.phone.sync()).trouble is None
    assert "GET /segments/7-0" not in server.requests, "a part that is here is not fetched again"
    assert same(hand, server)


async def test_a_server_that_never_stops_resetting_is_left():
    hand = await synced(server_with(1))
    hand.wire.answers["changes"] = [problem(410, "reset")] * 9
    assert (await hand.phone.sync()).trouble == "reset"


async def test_a_phone_whose_key_is_new_registers_anew_and_doubles_nothing():
    server = server_with(3)
    hand = await synced(server)
    sent = hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    hand.wire.fault = lambda n: "cut"
    assert (await hand.phone.sync()).trouble == "no-answer"
    hand.wire.fault = lambda n: None
    hand.wire.device = "phone-2"
    report = await hand.phone.sync()
    assert report.trouble is None
    assert server.effects == [sent.mid]
    assert report.results[0].repeat
    assert report.status.waiting == 0
    assert same(hand, server)


async def test_an_ended_phone_erases_everything_and_says_so():
    server = server_with(3)
    hand = await synced(server)
    hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    server.devices["phone-1"] = "ended"
    report = await hand.phone.sync()
    assert report.trouble == "ended"
    assert server.devices["phone-1"] == "wiped"
    with hand.storage.transaction() as tx:
        kept = {shelf: list(tx.scan(shelf)) for shelf in SHELVES}
    assert kept == {shelf: [] for shelf in SHELVES} | {"value": [("ended", b"confirmed")]}
    assert report.status.sentence == "this phone was ended, and everything on it is erased"
    server.requests.clear()
    assert (await hand.phone.sync()).trouble == "ended"
    assert server.requests == []
    with pytest.raises(NotPossible):
        hand.phone.write(Draft(op="create", type="Observation", body=observation()))


async def test_an_ended_phone_that_cannot_say_so_erases_first_and_says_it_later():
    server = server_with(3)
    hand = await synced(server)
    server.devices["phone-1"] = "ended"
    hand.wire.fault = lambda n: "lost" if server.requests else None
    assert (await hand.phone.sync()).trouble == "ended"
    assert hand.phone.rows() == []
    assert server.devices["phone-1"] == "ended"
    hand.wire.fault = lambda n: None
    assert (await hand.phone.sync()).trouble == "ended"
    assert server.devices["phone-1"] == "wiped"


@pytest.mark.parametrize("change", ["another byte", "another version", "missing", "one too many"])
async def test_a_difference_is_found_in_two_rounds_and_repaired(change: str):
    server = server_with(300)
    hand = await synced(server)
    with hand.storage.transaction() as tx:
        row = {
            "another byte": Row(type="Condition", id="7", version=1, by="B81001", body=CONDITION + b" "),
            "another version": Row(type="Condition", id="7", version=9, by="B81001", body=CONDITION),
            "missing": Row(type="Condition", id="7", version=1, gone=True),
            "one too many": Row(type="Condition", id="nobody's", version=1, body=CONDITION),
        }[change]
        put_row(tx, row)
        tx.put("value", "digest", bytes(len(tx.get("value", "digest") or b"")))
    report = await hand.phone.sync()
    assert server.requests == [
        "GET /changes",
        "GET /digest",
        "GET /digest",
        "POST /fetch",
        "GET /changes",
    ]
    assert (report.trouble, report.repaired) == (None, 1)
    assert same(hand, server)


async def test_a_replica_that_differs_everywhere_is_loaded_anew():
    server = server_with(300)
    hand = await synced(server)
    with hand.storage.transaction() as tx:
        tx.clear("row")
        tx.put("value", "digest", b"")
    report = await hand.phone.sync()
    assert report.trouble is None
    assert "GET /snapshot" in server.requests
    assert same(hand, server)


async def test_a_record_that_moves_during_a_repair_is_pulled_and_compared_again():
    server = server_with(300)
    hand = await synced(server)
    with hand.storage.transaction() as tx:
        put_row(tx, Row(type="Condition", id="7", version=1, gone=True))
        tx.put("value", "digest", b"")
    hand.wire.answers["digest"] = [problem(412, "moved")]
    assert (await hand.phone.sync()).trouble is None
    assert same(hand, server)


async def test_a_difference_that_cannot_be_repaired_is_never_called_up_to_date():
    server = server_with(3)
    hand = await synced(server)
    server.put("Condition", "new", CONDITION)
    server.root = lambda: "00" * 32
    report = await hand.phone.sync()
    assert report.trouble == "differs"
    assert not report.status.is_proved
    assert "up to date" not in report.status.sentence


def note_of(server: Server, size: int, root: bytes) -> str:
    checkpoint = Checkpoint(origin=f"{NAME}/{LOG_ID.hex()}", size=size, root=root)
    return sign_checkpoint(checkpoint, NAME, server.log_key)


@pytest.mark.parametrize("attack", ["shorter", "forked", "edited", "another key", "another log", "dropped"])
async def test_a_log_that_was_tampered_with_is_an_alarm_and_no_proof(attack: str):
    server = server_with(3)
    for number in range(5):
        server.log_entry(f"look {number}")
    hand = await synced(server)
    pin = hand.phone.pin()
    tamper(server, attack)
    report = await hand.phone.sync()
    assert report.trouble == "log"
    assert not report.status.is_proved
    assert report.status.sentence.startswith("THE ACCESS LOG IS NOT AS IT WAS")
    assert hand.phone.pin() == pin


def tamper(server: Server, attack: str) -> None:
    match attack:
        case "shorter":
            del server.log[3:]
        case "forked":
            del server.log[3:]
            for number in range(9):
                server.log_entry(f"another history {number}")
        case "edited":
            server.log_entry("new")
            server.log[-1].sealed = b"newer"
        case "another key":
            server.log_entry("new")
            server.log_key = Ed25519PrivateKey.from_private_bytes(b"t" * 32)
        case "another log":
            server.log_entry("new")
            server.note = lambda: sign_checkpoint(  # type: ignore[method-assign]
                Checkpoint(origin=f"{NAME}/{'00' * 32}", size=9, root=b"r" * 32), NAME, server.log_key
            )
        case _:
            server.log_entry("new")
            server.log_entry("newer")
            del server.log[6]


async def test_the_log_can_be_looked_at_alone():
    server = server_with(3)
    hand = await synced(server)
    server.log_entry("Ms Green looked")
    report = await hand.phone.look_at_log()
    assert report.trouble is None
    assert server.requests == ["GET /log/checkpoint", "GET /log"]
    assert [msgspec.json.decode(one)["sentence"] for one in hand.phone.log_entries()] == [
        "Dr Patel looked",
        "Ms Green looked",
    ]


async def test_a_long_log_is_fetched_in_pages():
    server = server_with(1)
    for number in range(450):
        server.log_entry(f"look {number}")
    hand = await synced(server)
    assert len(hand.phone.log_entries()) == 451
    pin = hand.phone.pin()
    assert pin is not None
    assert (pin.size, pin.root) == (451, server.log[-1].root.hex())
