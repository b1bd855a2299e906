"""Sessions read their own writes, also from an instance that was not told of them yet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from conftest import PATIENCE
from scripted import ScriptedServer

from userdata_client import session, v1
from userdata_client.session import Tokens
from userdata_client.testing import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two instances on one database, as one address."""
    directory: Path = tmp_path_factory.mktemp("shared")
    settings = {"database.url": f"sqlite://{directory}/userdata.db?mode=rwc"}
    with Server(settings=settings) as first, Server(settings=settings) as second:
        yield "ipv4:" + ",".join(server.addr.removeprefix("http://") for server in (first, second))


def test_a_session_reads_its_own_writes_from_every_instance(connect: Callable[..., Any], instances: str) -> None:
    client = connect(instances)
    with_session = client.session()
    for _ in range(4):
        # Both instances have the document in memory.
        for _ in range(4):
            with_session.get("1")
        written = with_session.invalidate("1")
        for _ in range(4):
            read = with_session.get("1")
            assert position(read.cache.token) >= position(written.token)
            assert read.cache.verified


def test_calls_go_to_all_addresses(connect: Callable[..., Any]) -> None:
    with ScriptedServer(reply("e:1")) as first, ScriptedServer(reply("e:1")) as second:
        client = connect("ipv4:" + ",".join(server.addr.removeprefix("http://") for server in (first, second)))
        end = time.monotonic() + PATIENCE
        # A call does not wait for a second connection, so the first calls may go to one server.
        while not (first.received and second.received) and time.monotonic() < end:
            client.get("1")
    assert first.received
    assert second.received


def position(token: str) -> int:
    return int(token.rpartition(":")[2])


def reply(token: str) -> v1.GetComprehensiveUserDataResponse:
    return v1.GetComprehensiveUserDataResponse(cache_info=v1.CacheInfo(token=token))


def test_a_session_sends_the_newest_token_of_that_user(connect: Callable[..., Any]) -> None:
    acknowledged = v1.InvalidateCacheResponse(token="e:5")
    script = [reply("e:3"), acknowledged, reply("e:5"), reply("e:7"), reply("f:1"), reply("f:1")]
    with ScriptedServer(*script) as scripted:
        session = connect(scripted.addr).session()
        session.get("1")
        session.invalidate(1)
        session.get("1")
        session.get("2")
        session.get("1")
        session.get("1")
    sent = [call.request.min_token for call in scripted.received if call.method != "InvalidateCache"]
    assert sent == ["", "e:5", "", "e:5", "f:1"]
    assert session.token("1") == "f:1"
    assert session.token("3") is None


def test_a_session_goes_on_with_an_earlier_ones_tokens(connect: Callable[..., Any]) -> None:
    with ScriptedServer(reply("e:9")) as scripted:
        connect(scripted.addr).session({"1": "e:8"}).get(1)
    assert scripted.received[0].request.min_token == "e:8"


def test_a_late_reply_does_not_undo_a_write() -> None:
    tokens = Tokens()
    tokens.wrote("1", "e:9")
    # The read began before the write, and ends after it: in the same epoch, and in another one.
    tokens.read("1", "", "e:4")
    assert tokens.of("1") == "e:9"
    tokens.read("1", "", "d:100")
    assert tokens.of("1") == "e:9"
    # This one was sent with the write's token. The database has begun a new epoch meanwhile.
    tokens.read("1", "e:9", "f:2")
    assert tokens.of("1") == "f:2"


def test_a_session_is_bounded_and_forgets_no_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "USERS_MAX", 2)
    tokens = Tokens()
    for user, at in (("1", 9), ("2", 5), ("3", 6)):
        tokens.wrote(user, f"e:{at}")
    assert [tokens.of(user) for user in ("1", "2", "3", "4")] == ["e:9", "e:5", "e:6", "e:9"]
    assert len(tokens._newest) == 2


def test_a_token_of_another_form_is_replaced_by_the_later_one() -> None:
    tokens = Tokens({"1": "opaque"})
    tokens.read("1", "opaque", "e:1")
    assert tokens.of("1") == "e:1"
