"""Clients as objects: addresses, the environment, threads, tasks, forks, and their end."""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import PATIENCE
from scripted import ScriptedServer

from userdata_client import AsyncSession, AsyncUserData, Session, UserData, v1
from userdata_client.connection import Target, checked_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from userdata_client.testing import Server


@pytest.mark.parametrize(
    ("addr", "name", "is_tls", "is_local"),
    [
        ("http://127.0.0.1:50051", "dns:///127.0.0.1:50051", False, True),
        ("http://[::1]:50051/", "dns:///[::1]:50051", False, True),
        ("http://localhost", "dns:///localhost:80", False, True),
        ("https://userdata.internal", "dns:///userdata.internal:443", True, False),
        ("HTTPS://userdata.internal:1", "dns:///userdata.internal:1", True, False),
        ("userdata:50051", "dns:///userdata:50051", False, False),
        ("localhost:50051", "dns:///localhost:50051", False, True),
        ("dns:///userdata:50051", "dns:///userdata:50051", False, False),
        ("dns://10.0.0.1/userdata:50051", "dns://10.0.0.1/userdata:50051", False, False),
        ("ipv4:127.0.0.1:1,127.0.0.1:2", "ipv4:127.0.0.1:1,127.0.0.1:2", False, True),
        ("ipv4:127.0.0.1:1,10.0.0.1:2", "ipv4:127.0.0.1:1,10.0.0.1:2", False, False),
        ("unix:/run/userdata.sock", "unix:/run/userdata.sock", False, True),
    ],
)
def test_an_address_is_a_url_or_a_name_of_grpc(addr: str, name: str, is_tls: bool, is_local: bool) -> None:
    assert Target.parse(addr, has_tls_files=False) == Target(name, is_tls, is_local)


@pytest.mark.parametrize(
    "addr", ["", " a:1", "ftp://a:1", "http://", "http://a:1/path", "http://u:p@a:1", "http://a:1?q", "http://a:99999"]
)
def test_an_address_that_is_neither_is_refused(addr: str) -> None:
    with pytest.raises(ValueError, match=r"addr|[Pp]ort"):
        UserData(addr)


def test_a_token_is_not_sent_in_clear_to_another_machine() -> None:
    for addr in ("http://userdata:50051", "userdata:50051", "dns:///userdata:50051"):
        with pytest.raises(ValueError, match="others could read it"):
            UserData(addr, token="t")
        UserData(addr, token="t", insecure_token=True)
        UserData(addr, token=" \n")
    UserData("https://userdata:50051", token="t")
    UserData("http://localhost:50051", token="t")


def test_contradictions_are_refused(tmp_path: Any) -> None:
    pem = tmp_path / "pem"
    pem.write_bytes(b"x")
    with pytest.raises(ValueError, match="not encrypted"):
        UserData("http://a:1", tls_ca=pem)
    with pytest.raises(ValueError, match="both or none"):
        UserData("https://a:1", tls_cert=pem)
    with pytest.raises(FileNotFoundError):
        UserData("https://a:1", tls_ca=tmp_path / "none")
    with pytest.raises(ValueError, match="timeout"):
        UserData("http://a:1", timeout=-1)


def test_a_token_that_cannot_be_sent_is_refused_and_not_quoted() -> None:
    for token in ("a b", "\u00e9", "a\x00"):
        with pytest.raises(ValueError, match=r"^token: expected") as raised:
            checked_token(token)
        assert repr(token) not in str(raised.value)


def test_the_environment_names_the_server(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    for name in ("ADDR", "TOKEN", "TLS_CA"):
        monkeypatch.delenv(f"USERDATA_{name}", raising=False)
    assert "127.0.0.1:50051" in repr(UserData.from_env())
    monkeypatch.setenv("USERDATA_ADDR", server.addr)
    monkeypatch.setenv("USERDATA_TLS_CA", "")
    monkeypatch.setenv("USERDATA_TOKEN", "secret\n")
    with UserData.from_env() as client:
        assert client.get("1").data.user_id == "1"
        assert client._connection.token == "secret"
        assert "secret" not in repr(client) + repr(client._connection)
    with UserData.from_env(token=None) as client:
        assert client._connection.token is None
    monkeypatch.setenv("USERDATA_TLS_CA", "/no/such/file")
    with pytest.raises(ValueError, match="not encrypted"):
        AsyncUserData.from_env()


def test_each_call_asks_for_the_token_of_now(connect: Callable[..., Any]) -> None:
    tokens = iter(["one", "two\n"])
    with ScriptedServer(v1.GetCacheStatsResponse()) as scripted:
        client = connect(scripted.addr, token=lambda: next(tokens))
        client.stats()
        client.stats()
    assert [call.metadata["authorization"] for call in scripted.received] == ["Bearer one", "Bearer two"]


def test_a_call_says_which_client_makes_it(connect: Callable[..., Any]) -> None:
    with ScriptedServer(v1.GetCacheStatsResponse()) as scripted:
        connect(scripted.addr).stats()
    assert str(scripted.received[0].metadata["user-agent"]).startswith("userdata-client-python/")


def test_threads_share_a_client(server: Server) -> None:
    with server.client(timeout=PATIENCE) as client, ThreadPoolExecutor(8) as pool:
        documents = list(pool.map(client.get, [1, 2, 3, 4] * 20))
    assert [document.data.user_id for document in documents] == ["1", "2", "3", "4"] * 20


def test_tasks_share_a_client_and_a_cancelled_one_harms_no_other(server: Server) -> None:
    async def run() -> None:
        async with server.async_client(timeout=PATIENCE) as client:
            tasks = [asyncio.create_task(client.get(user)) for user in range(1, 9)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            documents = await asyncio.gather(*tasks[1:])
            assert [document.data.user_id for document in documents] == [str(user) for user in range(2, 9)]

    asyncio.run(run())


def test_an_async_client_belongs_to_one_event_loop(server: Server) -> None:
    client = server.async_client(timeout=PATIENCE)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        first.run_until_complete(client.get("1"))
        with pytest.raises(RuntimeError, match="another event loop"):
            second.run_until_complete(client.get("1"))
        first.run_until_complete(client.close())
    finally:
        first.close()
        second.close()


def test_a_closed_client_says_so(client: Any) -> None:
    client.get("1")
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.get("1")
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.warm(["1"])


def get_in_child(client: UserData) -> None:
    # The parent cannot see an exception of the child, only how it ends.
    ended = 1
    try:
        ended = 0 if client.get("1", timeout=PATIENCE).data.user_id == "1" else 2
        client.close()
    finally:
        os._exit(ended)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("used", [False, True])
def test_a_child_process_connects_anew(server: Server, used: bool) -> None:
    # In a process of its own: no other test's threads may be at work while it forks.
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=fork_and_get, args=(server.addr, used))
    process.start()
    process.join()
    assert process.exitcode == 0


def fork_and_get(addr: str, used: bool) -> None:
    with UserData(addr, timeout=PATIENCE) as client:
        if used:
            client.get("1")
        child = os.fork()
        if child == 0:
            get_in_child(client)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert client.get("1").data.user_id == "1"


@pytest.mark.parametrize(("sync", "asynchronous"), [(UserData, AsyncUserData), (Session, AsyncSession)])
def test_sync_and_async_have_the_same_calls(sync: type, asynchronous: type) -> None:
    def calls(of: type) -> dict[str, str]:
        public = {name: each for name, each in vars(of).items() if not name.startswith("_") or name == "__init__"}
        functions = {name: getattr(each, "__func__", each) for name, each in public.items()}
        described = {name: f"{inspect.signature(each)}\n{each.__doc__}" for name, each in functions.items()}
        return {name: re.sub(r"\bAsync(?=Iterator|UserData|Session)", "", text) for name, text in described.items()}

    ours, theirs = calls(sync), calls(asynchronous)
    # It ends calls in another way.
    ours.pop("close", None)
    theirs.pop("close", None)
    assert ours == theirs
