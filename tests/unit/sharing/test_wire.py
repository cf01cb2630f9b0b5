"""The bodies of the grant calls."""

from datetime import UTC, datetime

import msgspec
import pytest

from server.errors import RuleBroken
from server.sharing.asking import end_of, recipient_of
from server.sharing.grant import Recipient
from server.sharing.wire import NewGrant, To, slice_view, to_of
from tests.unit.sharing.making import offered


@pytest.mark.parametrize(
    ("body", "recipient"),
    [
        ('{"open":true}', Recipient(kind="open")),
        ('{"professional":{"subject":"cis2:1"}}', Recipient(kind="professional", subject="cis2:1")),
        (
            '{"role_code":"R0260","organisation":"B86001"}',
            Recipient(kind="role", role_code="R0260", organisation="B86001"),
        ),
        ('{"guest":{"name":"Jo"}}', Recipient(kind="guest", name="Jo")),
        ("{}", None),
        ('{"open":false}', None),
        ('{"open":true,"role_code":"R0260","organisation":"B86001"}', None),
        ('{"role_code":"R0260"}', None),
        ('{"organisation":"B86001"}', None),
        ('{"role_code":"","organisation":""}', None),
        ('{"open":true,"guest":{"name":"Jo"}}', None),
    ],
)
def test_a_grant_names_its_recipient_in_exactly_one_way(body: str, recipient: Recipient | None) -> None:
    data = msgspec.json.decode(f'{{"to":{body}}}', type=NewGrant)
    assert recipient_of(data.to) == recipient


@pytest.mark.parametrize(
    "body",
    [
        '{"open":true}',
        '{"professional":{"subject":"cis2:1"}}',
        '{"role_code":"R0260","organisation":"B86001"}',
        '{"guest":{"name":"Jo","organisation":"The gym"}}',
    ],
)
def test_a_recipient_is_shown_as_it_was_named(body: str) -> None:
    to = recipient_of(msgspec.json.decode(body, type=To))
    assert to is not None
    assert msgspec.json.encode(to_of(offered(to=to))).decode() == body


def test_a_grant_asks_for_the_least_unless_told_more() -> None:
    data = msgspec.json.decode('{"to":{"open":true}}', type=NewGrant)
    assert (data.seconds, data.offer_seconds, data.purpose) == (86_400, 600, "TREAT")
    assert msgspec.to_builtins(slice_view(data.slice)) == {
        "current": True,
        "categories": (),
        "conditions": (),
        "add": (),
        "hide": (),
        "sensitive": (),
    }


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"to":{"open":true},"forever":true}',
        '{"to":{"everyone":true}}',
        '{"to":{"open":true},"slice":{"all":true}}',
        '{"to":{"open":true},"seconds":"86400"}',
        '{"to":{"open":true},"seconds":1.5}',
        '{"to":{"open":true},"slice":null}',
    ],
)
def test_what_is_not_understood_is_refused(body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=NewGrant)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-27T17:00:00Z", datetime(2026, 11, 27, 17, tzinfo=UTC)),
        ("2026-11-27T18:00:00.123999+01:00", datetime(2026, 11, 27, 17, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-11-27T17:00:00", None),
        ("2026-11-27", None),
        ("Friday", None),
        ("", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("0001-01-01T00:00:00+12:00", None),
    ],
)
def test_an_end_is_an_instant_with_its_zone(text: str, instant: datetime | None) -> None:
    if instant is not None:
        assert end_of(text) == instant
        return
    with pytest.raises(RuleBroken) as refused:
        end_of(text)
    assert refused.value.pointer == "/ends_at"
