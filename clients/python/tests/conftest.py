"""A server for all tests, and its sync and its async client behind the same calls."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from userdata_client import AsyncSession, AsyncUserData, UserData
from userdata_client.testing import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Long enough on a machine that does much else; no test waits for it to pass.
PATIENCE = 60.0


class Blocking:
    """The async client or session, called like the sync one: its loop runs during each call."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wrapped: AsyncUserData | AsyncSession) -> None:
        self._loop = loop
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._wrapped, name)

        async def call(*arguments: Any, **keywords: Any) -> Any:
            result = attribute(*arguments, **keywords)
            if inspect.isawaitable(result):
                return await result
            return [item async for item in result] if hasattr(result, "__anext__") else result

        def blocking(*arguments: Any, **keywords: Any) -> Any:
            result = self._loop.run_until_complete(call(*arguments, **keywords))
            return Blocking(self._loop, result) if isinstance(result, AsyncSession) else result

        return blocking


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes a client, sync or async; its arguments are UserData's. Calls have much time unless they say otherwise."""
    loop = asyncio.new_event_loop()
    made: list[Any] = []

    def make(addr: str, **options: Any) -> Any:
        options.setdefault("timeout", PATIENCE)
        if request.param == "sync":
            made.append(UserData(addr, **options))
        else:
            made.append(Blocking(loop, AsyncUserData(addr, **options)))
        return made[-1]

    yield make
    for client in made:
        client.close()
    loop.close()


@pytest.fixture
def client(server: Server, connect: Callable[..., Any]) -> Any:
    """A client of the server, sync or async."""
    return connect(server.addr)
