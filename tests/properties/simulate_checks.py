"""What must hold once a simulated world is quiet: the invariants of SYNC section 3.11, each by its number."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from server.sharing import rules
from server.storage.feed_rows import LIVE
from sync.messages import DONE
from tests.properties.simulate_ledger import Act, ItemName, Ledger, Violation
from tests.properties.simulate_source import Practice
from tests.properties.simulate_truth import Truth, Version


class SeenPhone(Protocol):
    """What the checks look at in a phone."""

    name: str
    is_ended: bool
    trouble: str | None

    def rows(self) -> dict[ItemName, tuple[int, bytes]]: ...
    def root(self) -> bytes | None: ...
    def waiting(self) -> tuple[str, ...]: ...
    def attention(self) -> dict[str, bytes]: ...
    def dump(self) -> bytes: ...


class Quiet(NamedTuple):
    """A world in which nobody has anything left to say."""

    truth: Truth
    ledger: Ledger
    practice: Practice
    phones: Sequence[SeenPhone]
    was_restored: bool

    @property
    def settled_at_home(self) -> set[str]:
        """Acts that a phone itself found to clash with one before them, and shows."""
        return {mid for phone in self.phones for mid in phone.attention()}

    @property
    def live_phones(self) -> list[SeenPhone]:
        """The phones that were not taken out of use."""
        return [phone for phone in self.phones if not phone.is_ended]


Check = Callable[[Quiet], Iterator[Violation]]


def violations(quiet: Quiet) -> Iterator[Violation]:
    """Everything that does not hold."""
    for check in CHECKS:
        yield from check(quiet)


def feed_is_numbered(quiet: Quiet) -> Iterator[Violation]:
    """I1: the newest row has the record's seq, and no two rows share one."""
    seqs = quiet.truth.seqs
    if len(set(seqs)) != len(seqs) or max(seqs) != quiet.truth.seq:
        yield Violation("I1", f"the rows are numbered {seqs}, the record says {quiet.truth.seq}")


def everybody_is_up_to_date(quiet: Quiet) -> Iterator[Violation]:
    """I6, I18: once nothing goes wrong any more, each phone's last exchange proved both sides equal.

    A phone that knows a longer log than a restored server has says so: that is the log's alarm, and right.
    """
    for phone in quiet.live_phones:
        if phone.trouble is not None and not (phone.trouble == "log" and quiet.was_restored):
            yield Violation("I6", f"{phone.name} cannot come up to date: {phone.trouble}")


def replicas_are_the_server(quiet: Quiet) -> Iterator[Violation]:
    """I6, I16: every replica holds what is live, byte for byte, and nothing else."""
    live = {name: (one.version, one.body) for name, one in quiet.truth.live.items()}
    for phone in quiet.live_phones:
        rows = phone.rows()
        for name in live.keys() - rows.keys():
            yield Violation("I6", f"{phone.name} lacks {'/'.join(name)}")
        for name in rows.keys() - live.keys():
            yield Violation("I6", f"{phone.name} keeps {'/'.join(name)}, which is not live")
        for name in live.keys() & rows.keys():
            if live[name] != rows[name]:
                yield Violation(
                    "I6", f"{phone.name} has {'/'.join(name)} as {rows[name]}, the server {live[name]}"
                )


def digests_agree(quiet: Quiet) -> Iterator[Violation]:
    """I6, I7: the root that is kept is the root of what is live, and every phone counts the same."""
    truth = quiet.truth
    if truth.root != truth.counted_root:
        yield Violation("I7", "the kept digest is not that of the live rows")
    for phone in quiet.live_phones:
        if phone.root() != truth.counted_root:
            yield Violation("I6", f"{phone.name} counts another digest than the server")


def nothing_waits(quiet: Quiet) -> Iterator[Violation]:
    """I18, I19: what the person did on a phone in use has reached the server and has an outcome."""
    for phone in quiet.live_phones:
        for mid in phone.waiting():
            yield Violation("I18", f"{phone.name} still holds back the {quiet.ledger.named(mid)}")
    for mid in quiet.ledger.acts.keys() - quiet.ledger.results.keys():
        if mid not in quiet.ledger.forgiven | quiet.ledger.may_be_undone | quiet.settled_at_home:
            yield Violation("I13", f"the {quiet.ledger.named(mid)} never reached the server")


def effects_happen_once(quiet: Quiet) -> Iterator[Violation]:
    """I9, I19: each version of an own item is the effect of one mutation, and each effect is there."""
    yield from unexplained(quiet.truth, quiet.ledger)


def unexplained(truth: Truth, ledger: Ledger) -> Iterator[Violation]:
    """Effects without a stored outcome, and outcomes without their effect: neither exists for a moment."""
    versions = {(name, one.version) for name in ledger.own_items() for one in truth.versions_of(name)}
    said: set[tuple[ItemName, int]] = set()
    for mid, result in truth.outcomes.items():
        act = ledger.acts[mid]
        if result.outcome in DONE and result.version is not None and act.name in ledger.own_items():
            said.add((act.name, result.version))
    for name, version in versions - said:
        yield Violation("I9", f"no stored outcome explains version {version} of {'/'.join(name)}")
    for name, version in said - versions:
        yield Violation("I9", f"an outcome tells of a version {version} of {name[1]} that is not there")


def outcomes_are_stored(quiet: Quiet) -> Iterator[Violation]:
    """I9: what was answered is stored, or a repeat would be a second effect."""
    for mid in quiet.ledger.results.keys() - quiet.truth.outcomes.keys():
        yield Violation("I9", f"the outcome of the {quiet.ledger.named(mid)} is not stored")


def values_are_kept(quiet: Quiet) -> Iterator[Violation]:
    """I13: each value the person wrote is in the item, in its history, or in a conflict they can see."""
    for mid, result in quiet.ledger.results.items():
        act = quiet.ledger.acts.get(mid)
        if act is None or not act.marker:
            continue
        stored = any(act.marker in one.body for one in _where_it_may_stand(quiet, act))
        if result.outcome in DONE and not stored:
            yield Violation(
                "I13", f"the {quiet.ledger.named(mid)} was {result.outcome} and its value is nowhere"
            )
        is_clash = result.outcome == "conflict" and act.kind not in ("question", "message")
        if is_clash and act.marker not in msgspec.json.encode(result.conflicts):
            yield Violation(
                "I13", f"the conflict of the {quiet.ledger.named(mid)} leaves out what they wrote"
            )


def refusals_are_shown(quiet: Quiet) -> Iterator[Violation]:
    """I13: what did not happen stands on the list of the phone it was done on, with what was written."""
    for phone in quiet.live_phones:
        shown = phone.attention()
        for mid, result in quiet.ledger.results.items():
            act = quiet.ledger.acts.get(mid)
            if act is None or act.phone != phone.name or mid in quiet.ledger.forgiven | quiet.ledger.unlisted:
                continue
            if result.outcome not in DONE and act.marker not in shown.get(mid, b""):
                yield Violation(
                    "I13", f"{phone.name} does not show that the {quiet.ledger.named(mid)} failed"
                )
            if result.outcome not in DONE and mid not in shown:
                yield Violation("I13", f"{phone.name} does not list the refused {quiet.ledger.named(mid)}")


def good_mutations_stand(quiet: Quiet) -> Iterator[Violation]:
    """I11: a recording is taken whatever was sent beside it, and what may not be written is not."""
    for mid, result in quiet.ledger.results.items():
        act = quiet.ledger.acts.get(mid)
        if act is None:
            continue
        if act.kind == "create" and result.outcome not in DONE:
            yield Violation("I11", f"the {quiet.ledger.named(mid)} was answered {result}")
        if act.kind == "hindered" and result.outcome in DONE:
            yield Violation("I11", f"the {quiet.ledger.named(mid)} was answered {result}, alone")
        if act.kind == "illegal" and (result.outcome, result.code) != ("rejected", "read-only"):
            yield Violation("I14", f"the {quiet.ledger.named(mid)} was answered {result}")


def source_is_untouched(quiet: Quiet) -> Iterator[Violation]:
    """I14: what the practice sent stands as it was sent, and only it wrote there."""
    for (*name, version), body in quiet.practice.bodies.items():
        item = (name[0], name[1])
        if quiet.truth.body_at(item, version) != body:
            yield Violation("I14", f"version {version} of {'/'.join(item)} is not what was sent")
    for name in quiet.practice.names:
        current = quiet.truth.current[name]
        if current.state == LIVE and (*name, current.version) not in quiet.practice.bodies:
            yield Violation("I14", f"somebody else wrote version {current.version} of {'/'.join(name)}")


def endings_stand(quiet: Quiet) -> Iterator[Violation]:
    """I15: an ended grant is over and a narrowed one gives no more than was left, whatever came after."""
    grants = {str(grant_id): grant for grant_id, grant in quiet.truth.grants.items()}
    for mid, result in quiet.ledger.results.items():
        act = quiet.ledger.acts.get(mid)
        # A narrowing that would widen what a newer one left is refused; it has its wish all the same.
        is_narrow = act is not None and act.kind == "narrow" and result.code != "business-rule"
        is_ending = act is not None and (act.kind == "end" or is_narrow) and act.name[1] in grants
        if is_ending and result.outcome not in DONE:
            yield Violation("I15", f"the {quiet.ledger.named(mid)} was answered {result}")
    for act, _ in quiet.ledger.done("end"):
        if not rules.is_over(grants[act.name[1]], quiet.truth.now):
            yield Violation("I15", f"the grant {act.name[1]} was ended and is {grants[act.name[1]].state}")
    for act, _ in quiet.ledger.done("narrow"):
        grant = grants[act.name[1]]
        more = set(grant.slice.categories) - set(act.categories)
        if more and not rules.is_over(grant, quiet.truth.now):
            yield Violation("I15", f"the grant {act.name[1]} was narrowed and gives {sorted(more)}")


def nothing_withheld_is_kept(quiet: Quiet) -> Iterator[Violation]:
    """I16, I24: no phone in use keeps a withheld item's words, and a phone that was ended keeps nobody's."""
    withheld = quiet.practice.withheld_markers()
    for phone in quiet.phones:
        dump = phone.dump()
        if phone.is_ended:
            kept = [
                word for words in quiet.practice.markers.values() for word in words if word.encode() in dump
            ]
            if kept:
                yield Violation("I24", f"{phone.name} was ended and keeps {kept[0]}")
            continue
        for marker in withheld:
            if marker.encode() in dump:
                yield Violation("I16", f"{phone.name} keeps {marker}, which is withheld")


def unseen_changes_are_not_overwritten(quiet: Quiet) -> Iterator[Violation]:
    """I12, I23: of two different changes of one value the first to arrive stands, whatever the clocks say."""
    for act, result in quiet.ledger.done("value"):
        bases = quiet.ledger.bases.get(act.mid, set())
        if result.version is None or result.version in bases or act.name not in quiet.ledger.own_items():
            continue
        was = {_value(quiet.truth.body_at(act.name, base)) for base in bases}
        before = _value(quiet.truth.body_at(act.name, result.version - 1))
        if before is not None and before not in was and before != act.marker:
            yield Violation(
                "I23", f"the {quiet.ledger.named(act.mid)} wrote over {before!r}, which it had not seen"
            )


def deleted_items_stay_deleted(quiet: Quiet) -> Iterator[Violation]:
    """Delete beats edit (SYNC 3.4, rule 6)."""
    for act, _ in quiet.ledger.done("delete"):
        current = quiet.truth.current.get(act.name)
        if current is not None and current.state == LIVE and not _is_entered_in_error(current.body):
            yield Violation("I13", f"{'/'.join(act.name)} was deleted and is live")


def _where_it_may_stand(quiet: Quiet, act: Act) -> Iterator[Version]:
    """The versions of the item an act was on; what was asked of a source may stand in a Communication too."""
    yield from quiet.truth.versions_of(act.name)
    if act.name[0] == "Task":
        for name in quiet.truth.current:
            if name[0] == "Communication":
                yield from quiet.truth.versions_of(name)


def _value(body: bytes | None) -> bytes | None:
    if not body:
        return None
    resource: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    quantity = resource.get("valueQuantity")
    return None if quantity is None else str(quantity["value"]).encode()


def _is_entered_in_error(body: bytes) -> bool:
    return msgspec.json.decode(body, type=dict[str, Any]).get("status") == "entered-in-error"


CHECKS: tuple[Check, ...] = (
    feed_is_numbered,
    everybody_is_up_to_date,
    replicas_are_the_server,
    digests_agree,
    nothing_waits,
    effects_happen_once,
    outcomes_are_stored,
    values_are_kept,
    refusals_are_shown,
    good_mutations_stand,
    source_is_untouched,
    endings_stand,
    nothing_withheld_is_kept,
    unseen_changes_are_not_overwritten,
    deleted_items_stay_deleted,
)
