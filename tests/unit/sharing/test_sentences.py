"""Every sentence about a grant: plain, true to its slots, silent to recipients about what is kept back."""

import re
from datetime import UTC, datetime, timedelta
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_profiles.heads import CATEGORIES, SENSITIVE_CLASSES
from fhir_profiles.slices import Slice
from server.audit.entry import Who
from server.sharing import plain_words, rules, sentences
from server.sharing.grant import Grant, Recipient
from server.sharing.plain_words import CATEGORY_WORDS, SENSITIVE_WORDS
from server.sharing.sentences import GrantSlots, citizen_sentence, recipient_sentence, slots_of
from tests.unit.sharing.making import NOW, PATEL, REDEMPTION_ID, active, ended, moved, offered, pending

PRONOUNS = {"he", "she", "him", "her", "his", "hers", "they", "them", "their", "theirs", "it's"}
JARGON = {
    "grant", "slice", "token", "resource", "redeem", "redeemed", "recipient", "access-grant", "fhir", "scope",
    "revoke", "revoked", "authorise", "authorised", "consent", "clinical", "data", "subject", "null", "none",
}  # fmt: skip
WORDS_MAX = 30

DEFAULT = Slice()
WIDE = Slice(
    current=True,
    categories=("medicines", "documents", "results"),
    conditions=("1",),
    from_="2025-01-01",
    to="2025-12",
    add=("Observation/1",),
    hide=("Condition/2", "Condition/3"),
    sensitive=("mental-health", "hiv"),
)
NOTHING = Slice(current=False)
EVERYTHING = Slice(categories=CATEGORIES, sensitive=SENSITIVE_CLASSES)
SLICES = (DEFAULT, WIDE, NOTHING, EVERYTHING, Slice(hide=("Condition/2",)))
RECIPIENTS = (
    Recipient(kind="open"),
    Recipient(kind="professional", subject="cis2:patel"),
    Recipient(kind="role", role_code="R0260", organisation="B86001"),
)


def lives(to: Recipient, shared: Slice) -> list[Grant]:
    """A grant in each of its written states."""
    as_offered = msgspec.structs.replace(offered(slice=shared), to=to)
    return [
        as_offered,
        pending(slice=shared),
        active(slice=shared),
        ended(slice=shared),
        moved(rules.reject(pending(slice=shared), REDEMPTION_ID, NOW)),
        moved(rules.end(as_offered, None, NOW)),
        msgspec.structs.replace(as_offered, ends_at=NOW + timedelta(hours=2)),
    ]


EVERY_LIFE = [grant for to, shared in product(RECIPIENTS, SLICES) for grant in lives(to, shared)]


def every_text() -> set[str]:
    """Every sentence the generator makes of these grants, at the time and a year later."""
    texts: set[str] = set()
    for grant, now in product(EVERY_LIFE, (NOW, NOW + timedelta(days=366))):
        slots = slots_of(grant, rules.state_at(grant, now))
        texts |= {citizen_sentence(slots), recipient_sentence(slots), sentences.ended_line(slots)}
        texts |= {sentences.offered_line(slots), sentences.confirmed_line(slots)}
        texts |= {sentences.narrowed_line(slots), sentences.extended_line(slots)}
        texts |= {sentences.receipt_sentence(slots, now), sentences.cannot_undo(slots, 0)}
        texts |= {sentences.cannot_undo(slots, 1), sentences.cannot_undo(slots, 12)}
        texts |= {sentences.rejected_line(slots.who), sentences.too_late_line(slots.who)}
    who = Who(subject="cis2:patel", name="Dr Patel", role="GP", organisation="Beeston Practice")
    for kind in ("read", "search", "history", "sync", "export", "preview-by-carer"):
        items = [("Observation", "1", "1"), ("Observation", "1", "2")]
        texts |= {sentences.looked_line(who, kind, items, is_owner=is_owner) for is_owner in (True, False)}
        texts.add(sentences.looked_line(who, kind, [], is_owner=False))
    return texts


def test_the_citizen_is_told_both_sides_and_the_recipient_one() -> None:
    slots = slots_of(active(slice=Slice(sensitive=SENSITIVE_CLASSES[1:])), "active")
    assert citizen_sentence(slots) == (
        "Dr Patel (GP, Beeston Practice) can see your current summary, with what is about "
        "sexual and reproductive health, drugs and alcohol, abuse and safeguarding, HIV, and genetics "
        "until 9am on Tuesday 24 November. Dr Patel cannot see anything about mental health."
    )
    assert citizen_sentence(slots).startswith(recipient_sentence(slots))
    assert "mental" not in recipient_sentence(slots)


def test_an_open_offer_names_nobody() -> None:
    assert citizen_sentence(slots_of(offered(slice=EVERYTHING), "offered")).startswith(
        "Whoever uses this code, once you say yes, can see your current summary, and every part of"
    )
    assert "Nobody with this code can see anything about mental health" in citizen_sentence(
        slots_of(offered(), "offered")
    )


def test_each_end_of_a_grants_life_is_told_apart() -> None:
    def said(grant: Grant, now: datetime) -> str:
        return recipient_sentence(slots_of(grant, rules.state_at(grant, now)))

    later = NOW + timedelta(days=2)
    rejected = moved(rules.reject(pending(), REDEMPTION_ID, NOW))
    assert said(ended(), later) == (
        "Dr Patel (GP, Beeston Practice) could see your current summary until 10am on Monday 23 November."
    )
    assert said(active(), later) == (
        "Dr Patel (GP, Beeston Practice) could see your current summary until 9am on Tuesday 24 November."
    )
    assert said(offered(), later) == "This code ran out before it was used."
    assert said(moved(rules.end(offered(), None, NOW)), later) == "You ended this code before it was used."
    assert said(rejected, later) == "You said no to Dr Patel (GP, Beeston Practice)."


@given(
    current=st.booleans(),
    categories=st.sets(st.sampled_from(CATEGORIES)),
    kept=st.lists(
        st.tuples(st.sets(st.sampled_from(["Condition/1", "Condition/2", "List/3"])), st.booleans()),
        min_size=2,
        max_size=2,
    ),
)
def test_a_recipient_cannot_tell_what_is_kept_back(
    current: bool, categories: set[str], kept: list[tuple[set[str], bool]]
) -> None:
    told = {
        recipient_sentence(
            slots_of(
                active(
                    slice=Slice(
                        current=current, categories=tuple(sorted(categories)), hide=tuple(sorted(hidden))
                    )
                ),
                "active",
            )
        )
        for hidden, _ in kept
    }
    assert len(told) == 1


@pytest.mark.parametrize("name", SENSITIVE_CLASSES)
def test_a_class_that_is_not_ticked_is_never_named_to_the_recipient(name: str) -> None:
    words = SENSITIVE_WORDS[name]
    ticked = tuple(other for other in SENSITIVE_CLASSES if other != name)
    for shared in (DEFAULT, Slice(sensitive=ticked, hide=("Condition/1",))):
        for grant in lives(Recipient(kind="open"), shared):
            for state in ("offered", "pending", "active"):
                if state != "active" or grant.ends_at:
                    assert words not in recipient_sentence(slots_of(grant, state))


def test_a_change_is_told_with_what_then_holds() -> None:
    def said(grant: Grant) -> GrantSlots:
        return slots_of(grant, rules.state_at(grant, NOW))

    shared = Slice(sensitive=SENSITIVE_CLASSES)
    what = ", with what is about mental health"
    assert sentences.narrowed_line(said(active(slice=shared))).startswith(
        "You reduced access for Dr Patel (GP, Beeston Practice). "
        f"Dr Patel (GP, Beeston Practice) can see your current summary{what}"
    )
    assert sentences.extended_line(said(active())).startswith(
        "You gave Dr Patel (GP, Beeston Practice) more time. "
        "Dr Patel (GP, Beeston Practice) can see your current summary until 9am on Tuesday 24 November."
    )
    capped = msgspec.structs.replace(offered(), ends_at=NOW + timedelta(hours=15))
    assert sentences.narrowed_line(said(capped)).startswith(
        "You reduced what a code opens. Whoever uses this code, once you say yes, can see your current "
        "summary for 24 hours. Access will be over by the end of Monday 23 November. Nobody with this code"
    )
    assert "over by" not in recipient_sentence(said(capped))


def test_sentences_are_made_again_from_their_slots_alone() -> None:
    for grant in EVERY_LIFE:
        slots = slots_of(grant, grant.state)
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(slots), type=GrantSlots)
        assert citizen_sentence(again) == citizen_sentence(slots)


def test_no_sentence_guesses_a_pronoun_or_uses_a_word_of_ours() -> None:
    for text in every_text():
        words = set(re.findall(r"[a-z'-]+", text.lower()))
        assert not words & (PRONOUNS | JARGON), text


def test_every_sentence_is_short_and_whole() -> None:
    for text in every_text():
        assert re.fullmatch(r"[A-Z].*\.", text), text
        assert "  " not in text
        assert " ." not in text
        for sentence in re.split(r"(?<=\.) ", text):
            # The longest name every chosen part of the record; the citizen chose them and should see each.
            limit = WORDS_MAX if "with what is about" not in sentence else 70
            assert len(sentence.split()) <= limit, sentence


def test_every_category_and_class_has_plain_words() -> None:
    assert tuple(CATEGORY_WORDS) == CATEGORIES
    assert set(SENSITIVE_WORDS) == set(SENSITIVE_CLASSES)


def test_a_name_cannot_break_or_reorder_a_sentence() -> None:
    tricky = msgspec.structs.replace(PATEL, name="Dr\n\u202ePatel\u200b\u0000  " + "x" * 200)
    text = citizen_sentence(slots_of(msgspec.structs.replace(active(), redeemer=tricky), "active"))
    assert text.startswith("Dr Patel xxx")
    assert text.isprintable()
    assert len(text.partition(" (GP")[0]) <= plain_words.NAME_CHARACTERS_MAX


def test_looking_is_told_with_how_much_was_seen() -> None:
    who = Who(subject="cis2:patel", name="Dr Patel", role="GP", organisation="Beeston Practice")
    one = [("Observation", "1", "3")]
    assert sentences.looked_line(who, "read", one, is_owner=False) == (
        "Dr Patel (GP, Beeston Practice) looked at 1 item."
    )
    assert sentences.looked_line(who, "sync", one * 2, is_owner=True) == "You copied 1 item to a phone."


@pytest.mark.parametrize(
    ("instant", "at", "until"),
    [
        ("2026-11-27T17:00:00+00:00", "5pm on Friday 27 November", "5pm on Friday 27 November"),
        ("2026-11-27T17:30:59+00:00", "5:30pm on Friday 27 November", "5:30pm on Friday 27 November"),
        ("2026-07-01T16:05:00+00:00", "5:05pm on Wednesday 1 July", "5:05pm on Wednesday 1 July"),
        ("2026-11-27T12:00:00+00:00", "midday on Friday 27 November", "midday on Friday 27 November"),
        ("2026-11-27T00:00:00+00:00", "midnight on Friday 27 November", "the end of Thursday 26 November"),
        ("2026-06-30T23:00:00+00:00", "midnight on Wednesday 1 July", "the end of Tuesday 30 June"),
        ("2026-11-27T00:30:00+00:00", "12:30am on Friday 27 November", "12:30am on Friday 27 November"),
        ("2027-11-27T09:00:00+00:00", "9am on Saturday 27 November 2027", "9am on Saturday 27 November 2027"),
        ("2026-03-29T01:30:00+00:00", "2:30am on Sunday 29 March", "2:30am on Sunday 29 March"),
        ("2026-10-25T00:30:00+00:00", "1:30am on Sunday 25 October", "1:30am on Sunday 25 October"),
        ("2026-10-25T01:30:00+00:00", "1:30am on Sunday 25 October", "1:30am on Sunday 25 October"),
    ],
)
def test_times_are_said_as_they_are_in_england(instant: str, at: str, until: str) -> None:
    when = datetime.fromisoformat(instant).astimezone(UTC)
    assert plain_words.at_words(when, said_in=2026) == at
    assert plain_words.until_words(when, said_in=2026) == until


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"), (60, "1 minute"), (90, "90 seconds"), (5_400, "90 minutes"), (7_200, "2 hours"),
        (86_400, "24 hours"), (7 * 86_400, "7 days"), (365 * 86_400, "1 year"), (86_401, "86401 seconds"),
    ],
)  # fmt: skip
def test_lengths_are_said_exactly(seconds: int, words: str) -> None:
    assert plain_words.length_words(seconds) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2025", "2025"), ("2025-02", "February 2025"), ("2025-02-03", "3 February 2025"),
        ("2025-02-03T10:00:00Z", "3 February 2025"), ("2025-13", "2025-13"), ("soon", "soon"),
    ],
)  # fmt: skip
def test_dates_are_said_as_exactly_as_they_are_known(text: str, words: str) -> None:
    assert plain_words.date_words(text) == words


def test_lists_are_easy_to_follow() -> None:
    assert plain_words.listed([]) == ""
    assert plain_words.listed(["a"]) == "a"
    assert plain_words.listed(["a", "b"]) == "a and b"
    assert plain_words.listed(["a", "b", "c"], "or") == "a, b or c"
    assert plain_words.listed(["a", "b and c", "d"]) == "a, b and c, and d"
