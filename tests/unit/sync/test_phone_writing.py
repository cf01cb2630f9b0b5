"""What a person does offline: seen at once, sent once, merged with what others did, never lost silently."""

from typing import Any

import pytest

from sync.phone import Draft, NotPossible
from sync.values import read_json, write_json
from tests.unit.sync.phones import Hand, new_phone, observation, same
from tests.unit.sync.reference_server import Server, problem

READING = ("Observation", "r1")


def server_with_reading(**members: Any) -> Server:
    server = Server()
    server.put(*READING, write_json(observation(note=[{"text": "first"}]) | members), by="self")
    server.put("Condition", "c1", b'{"resourceType":"Condition"}')
    server.log_entry("opened")
    return server


async def synced(server: Server, device: str = "phone-1") -> Hand:
    hand = new_phone(server, device)
    assert (await hand.phone.sync()).trouble is None
    server.requests.clear()
    return hand


def seen(hand: Hand, item: tuple[str, str] = READING) -> dict[str, Any]:
    shown = hand.phone.item(*item)
    assert shown is not None
    return read_json(shown.body)


def patch(hand: Hand, **members: Any) -> str:
    return hand.phone.write(Draft(op="patch", type=READING[0], id=READING[1], patch=members)).mid


def stored(server: Server) -> dict[str, Any]:
    return read_json(server.live()[READING][1])


def elsewhere(server: Server, **members: Any) -> None:
    """Another phone wrote."""
    server.put(*READING, write_json(stored(server) | members), by="self")


async def test_what_is_written_is_seen_at_once_and_waits_until_the_server_shows_it_back():
    hand = await synced(server_with_reading())
    patch(hand, valueQuantity={"value": 81})
    shown = hand.phone.item(*READING)
    assert shown is not None
    assert shown.waiting
    assert seen(hand)["valueQuantity"]["value"] == 81
    await hand.phone.sync()
    shown = hand.phone.item(*READING)
    assert shown is not None
    assert not shown.waiting
    assert shown.version == 2


async def test_edits_of_one_item_made_offline_one_upon_the_other_all_take_effect():
    server = server_with_reading()
    hand = await synced(server)
    created = hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    for value in (81, 82, 83):
        patch(hand, valueQuantity={"value": value})
        hand.phone.write(
            Draft(op="patch", type="Observation", id=created.id, patch={"method": {"text": str(value)}})
        )
    hand.phone.write(Draft(op="delete", type="Observation", id=created.id))
    assert hand.phone.item("Observation", created.id) is None
    assert (await hand.phone.sync()).status.waiting == 0
    assert hand.phone.concerns() == []
    assert stored(server)["valueQuantity"]["value"] == 83
    assert same(hand, server)


async def test_an_edit_upon_an_edit_that_was_merged_undoes_nobodys_change():
    server = server_with_reading()
    hand = await synced(server)
    patch(hand, note=[{"text": "first"}, {"text": "mine"}])
    patch(hand, note=[{"text": "first"}, {"text": "mine"}, {"text": "mine too"}])
    elsewhere(server, note=[{"text": "first"}, {"text": "theirs"}])
    await hand.phone.sync()
    notes = [note["text"] for note in stored(server)["note"]]
    assert sorted(notes) == ["first", "mine", "mine too", "theirs"]
    assert hand.phone.concerns() == []
    assert same(hand, server)


async def test_an_edit_upon_a_merged_one_that_clashes_is_shown_and_not_sent():
    server = server_with_reading()
    hand = await synced(server)
    patch(hand, method={"text": "scales"})
    clashing = patch(hand, valueQuantity={"value": 82})
    elsewhere(server, valueQuantity={"value": 90})
    await hand.phone.sync()
    assert stored(server)["valueQuantity"] == {"value": 90}
    assert stored(server)["method"] == {"text": "scales"}
    [concern] = hand.phone.concerns()
    assert concern.mutation.mid == clashing
    assert concern.result.conflicts[0].mine["valueQuantity"]["value"] == 82
    assert clashing not in server.outcomes


async def test_two_phones_that_change_different_things_both_have_their_way():
    server = server_with_reading()
    one, other = await synced(server), await synced(server, "phone-2")
    patch(one, valueQuantity={"value": 81})
    patch(other, method={"text": "scales"})
    await one.phone.sync()
    await other.phone.sync()
    await one.phone.sync()
    assert stored(server)["valueQuantity"]["value"] == 81
    assert stored(server)["method"] == {"text": "scales"}
    assert same(one, server)
    assert same(other, server)


async def test_a_clash_leaves_the_current_value_and_keeps_mine_whole_until_i_decide():
    server = server_with_reading()
    one, other = await synced(server), await synced(server, "phone-2")
    patch(one, valueQuantity={"value": 81})
    await one.phone.sync()
    mid = patch(other, valueQuantity={"value": 82})
    report = await other.phone.sync()
    assert report.status.sentence == "up to date, proved at 14:02, 1 change in need of your attention"
    assert seen(other)["valueQuantity"]["value"] == 81
    [concern] = other.phone.concerns()
    assert concern.mutation.mid == mid
    assert concern.result.conflicts[0].mine["valueQuantity"]["value"] == 82

    again = other.phone.send_again(mid)
    assert again.mid != mid
    assert seen(other)["valueQuantity"]["value"] == 82
    await other.phone.sync()
    assert other.phone.concerns() == []
    assert stored(server)["valueQuantity"]["value"] == 82


async def test_sending_again_keeps_what_others_added_meanwhile():
    server = server_with_reading()
    hand = await synced(server)
    mid = patch(hand, valueQuantity={"value": 82}, note=[{"text": "first"}, {"text": "mine"}])
    elsewhere(server, valueQuantity={"value": 90}, note=[{"text": "first"}, {"text": "theirs"}])
    await hand.phone.sync()
    hand.phone.send_again(mid)
    await hand.phone.sync()
    assert stored(server)["valueQuantity"]["value"] == 82
    assert [note["text"] for note in stored(server)["note"]] == ["first", "theirs", "mine"]


async def test_what_is_discarded_is_gone_and_the_item_is_as_the_server_has_it():
    server = server_with_reading()
    hand = await synced(server)
    mid = patch(hand, valueQuantity={"value": 82})
    elsewhere(server, valueQuantity={"value": 90})
    await hand.phone.sync()
    hand.phone.discard(mid)
    assert hand.phone.concerns() == []
    assert seen(hand)["valueQuantity"]["value"] == 90
    for settle in (hand.phone.discard, hand.phone.send_again):
        with pytest.raises(NotPossible):
            settle(mid)


async def test_an_edit_of_what_another_phone_deleted_can_be_made_anew():
    server = server_with_reading()
    hand = await synced(server)
    mid = patch(hand, valueQuantity={"value": 82})
    server.gone(*READING)
    await hand.phone.sync()
    [concern] = hand.phone.concerns()
    assert concern.result.code == "gone"
    again = hand.phone.send_again(mid)
    assert again.op == "create"
    assert again.id != READING[1]
    await hand.phone.sync()
    assert read_json(server.live()["Observation", again.id][1])["valueQuantity"]["value"] == 82


async def test_a_deletion_of_what_changed_meanwhile_needs_attention_and_can_be_sent_again():
    server = server_with_reading()
    hand = await synced(server)
    mid = hand.phone.write(Draft(op="delete", type=READING[0], id=READING[1])).mid
    elsewhere(server, valueQuantity={"value": 90})
    await hand.phone.sync()
    assert hand.phone.item(*READING) is not None
    hand.phone.send_again(mid)
    assert hand.phone.item(*READING) is None
    await hand.phone.sync()
    assert READING not in server.live()


async def test_an_edit_seen_on_top_of_anothers_while_it_waits_shows_both():
    server = server_with_reading()
    hand = await synced(server)
    patch(hand, valueQuantity={"value": 82}, note=[{"text": "first"}, {"text": "mine"}])
    elsewhere(server, method={"text": "scales"}, note=[{"text": "first"}, {"text": "theirs"}])
    hand.wire.answers["mutations"] = [problem(503, "slow", retry_after=600)]
    await hand.phone.sync()
    assert seen(hand)["method"] == {"text": "scales"}
    assert seen(hand)["valueQuantity"]["value"] == 82
    assert [note["text"] for note in seen(hand)["note"]] == ["first", "theirs", "mine"]


async def test_an_answer_that_was_lost_is_asked_for_again_and_doubles_nothing():
    server = server_with_reading()
    hand = await synced(server)
    mid = hand.phone.write(Draft(op="create", type="Observation", body=observation())).mid
    hand.wire.fault = lambda n: "cut" if server.requests[-1:] == [] else None
    assert (await hand.phone.sync()).trouble == "no-answer"
    assert mid in server.outcomes
    hand.wire.fault = lambda n: None
    report = await hand.phone.sync()
    assert [result.repeat for result in report.results] == [True]
    assert report.status.waiting == 0
    assert server.effects == [mid]


async def test_only_the_persons_own_items_can_be_changed_here():
    hand = await synced(server_with_reading())
    with pytest.raises(NotPossible):
        hand.phone.write(Draft(op="patch", type="Condition", id="c1", patch={"note": []}))
    with pytest.raises(NotPossible):
        hand.phone.write(Draft(op="delete", type="Observation", id="nobody's"))
    with pytest.raises(NotPossible):
        hand.phone.write(Draft(op="create", type="Observation"))


async def test_a_refusal_by_the_server_is_shown():
    server = server_with_reading()
    hand = await synced(server)
    hand.phone.write(Draft(op="create", type="Condition", body={"resourceType": "Condition"}))
    await hand.phone.sync()
    assert [one.result.code for one in hand.phone.concerns()] == ["read-only"]
    assert len(hand.phone.shown("Condition")) == 1


async def test_acts_of_a_group_wait_for_each_other():
    server = server_with_reading()
    hand = await synced(server)
    patch(hand, valueQuantity={"value": 81})
    hand.phone.write(Draft(op="patch", type=READING[0], id=READING[1], patch={"method": {}}, txn="visit"))
    with_it = hand.phone.write(Draft(op="create", type="Observation", body=observation(), txn="visit")).mid
    hand.wire.fault = lambda n: "lost" if server.requests == ["POST /mutations"] else None
    await hand.phone.sync()
    assert with_it not in server.outcomes
    hand.wire.fault = lambda n: None
    await hand.phone.sync()
    assert with_it in server.outcomes
    assert hand.phone.status().waiting == 0


async def test_a_group_changes_each_item_once():
    hand = await synced(server_with_reading())
    draft = Draft(op="patch", type=READING[0], id=READING[1], patch={"method": {}}, txn="visit")
    hand.phone.write(draft)
    with pytest.raises(NotPossible):
        hand.phone.write(draft)


async def test_a_command_that_needs_a_fresh_sign_in_is_a_draft_that_can_be_sent_again():
    server = server_with_reading()
    hand = await synced(server)
    extend = Draft(op="command", type="Consent", id="g1", args={"command": "extend"})
    mid = hand.phone.write(extend).mid
    await hand.phone.sync()
    assert [one.result.outcome for one in hand.phone.concerns()] == ["needs-step-up"]
    again = hand.phone.send_again(mid)
    assert (again.type, again.id, bytes(again.args)) == ("Consent", "g1", b'{"command":"extend"}')


async def test_the_answer_of_a_command_is_kept_until_it_was_seen():
    server = server_with_reading()
    hand = await synced(server)
    mid = hand.phone.write(Draft(op="command", type="Consent", args={"command": "grant"})).mid
    await hand.phone.sync()
    restarted = hand.restarted()
    [answer] = restarted.phone.answers()
    assert answer.mid == mid
    assert read_json(bytes(answer.answer))["offer"]["code"] == "7K3M-Q9TX2R"
    restarted.phone.forget_answer(mid)
    assert restarted.phone.answers() == []


async def test_an_end_goes_in_the_same_push_as_what_was_asked_before_it():
    server = server_with_reading()
    server.put("Consent", "g1", b'{"resourceType":"Consent","status":"active"}', by="held")
    hand = await synced(server)
    hand.phone.write(Draft(op="command", type="Consent", id="g1", args={"command": "extend"}))
    end = hand.phone.write(Draft(op="command", type="Consent", id="g1", args={"command": "end"}))
    assert seen(hand, ("Consent", "g1"))["status"] == "inactive"
    await hand.phone.sync()
    assert server.requests == ["POST /mutations"]
    assert end.mid in server.effects
    assert seen(hand, ("Consent", "g1"))["status"] == "inactive"


async def test_a_questioned_item_is_marked_at_once_and_until_it_is_settled():
    server = server_with_reading()
    hand = await synced(server)

    def marked() -> list[str]:
        return [shown.id for shown in hand.phone.shown() if shown.questioned]

    asked = hand.phone.write(
        Draft(
            op="command",
            type="Task",
            id="t1",
            args={"command": "question", "target": "Condition/c1/_history/1"},
        )
    )
    assert marked() == ["c1"]
    await hand.phone.sync()
    task: dict[str, Any] = {
        "resourceType": "Task",
        "status": "ready",
        "focus": {"reference": "Condition/c1/_history/1"},
    }
    server.put("Task", asked.id, write_json(task), by="held")
    await hand.phone.sync()
    assert marked() == ["c1"]
    hand.phone.write(Draft(op="command", type="Task", id="t1", args={"command": "withdraw"}))
    assert marked() == []
    server.put("Task", "t1", write_json(task | {"status": "cancelled"}), by="held")
    await hand.phone.sync()
    assert marked() == []
    server.put("Task", "t2", write_json(task), by="held")
    await hand.phone.sync()
    assert marked() == ["c1"]
    server.put("Task", "t2", write_json(task | {"status": "completed"}), by="held")
    await hand.phone.sync()
    assert marked() == []


async def test_wrong_clocks_change_no_outcome():
    server = server_with_reading()
    one, other = await synced(server), await synced(server, "phone-2")
    one.clock.at = one.clock.at.replace(year=2036)
    other.clock.at = other.clock.at.replace(year=2016)
    patch(one, valueQuantity={"value": 81})
    await one.phone.sync()
    patch(other, valueQuantity={"value": 82})
    await other.phone.sync()
    assert stored(server)["valueQuantity"]["value"] == 81
    assert len(other.phone.concerns()) == 1


async def test_a_restored_phone_suppresses_and_doubles_nothing():
    server = server_with_reading()
    hand = await synced(server)
    before = hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    copy = type(hand.storage)()
    copy.__dict__.update(hand.storage.copy().__dict__)
    after = hand.phone.write(Draft(op="create", type="Observation", body=observation()))
    await hand.phone.sync()
    restored = hand.restarted(copy)
    anew = restored.phone.write(Draft(op="create", type="Observation", body=observation()))
    await restored.phone.sync()
    assert sorted(server.effects) == sorted([before.mid, after.mid, anew.mid])
    assert same(restored, server)


async def test_a_restored_server_gets_again_what_it_forgot():
    server = server_with_reading()
    hand = await synced(server)
    rows, history, head = dict(server.rows), dict(server.history), server.head
    patch(hand, method={"text": "scales"})
    hand.wire.answers["changes"] = [problem(503, "slow", retry_after=600)] * 3
    server.put("Condition", "c2", b"{}")
    server.page_rows = 1
    await hand.phone.sync()
    assert [entry.result is not None for entry in hand.phone.outbox()] == [True]
    server.rows, server.history, server.head, server.outcomes = rows, history, head, {}
    server.epoch += 1
    server.page_rows = 500
    elsewhere(server, bodySite={"text": "left"})
    hand.wire.answers.clear()
    report = await hand.phone.sync()
    assert report.status.waiting == 0
    assert stored(server)["method"] == {"text": "scales"}
    assert stored(server)["bodySite"] == {"text": "left"}
    assert same(hand, server)


async def test_what_was_answered_stays_in_sight_until_its_row_is_here():
    server = server_with_reading()
    hand = await synced(server)
    patch(hand, valueQuantity={"value": 81})
    server.put("Condition", "c2", b"{}")
    server.page_rows = 1
    hand.wire.fault = lambda n: "lost" if server.requests == ["POST /mutations"] else None
    assert (await hand.phone.sync()).trouble == "no-answer"
    assert [entry.result is not None for entry in hand.phone.outbox()] == [True]
    shown = hand.phone.item(*READING)
    assert shown is not None
    assert (shown.version, shown.waiting) == (1, True)
    assert seen(hand)["valueQuantity"]["value"] == 81
    hand.wire.fault = lambda n: None
    report = await hand.phone.sync()
    assert "POST /mutations" not in server.requests[1:], "what was answered is not sent again"
    assert report.status.sentence == "up to date, proved at 14:02"
