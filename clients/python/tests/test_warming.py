"""Warming: each item as it is finished."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from conftest import PATIENCE

from userdata_client import NotFoundError, UserData

if TYPE_CHECKING:
    from userdata_client.testing import Server


def test_each_item_is_told_and_a_failed_one_stops_no_other(client: Any) -> None:
    items = list(client.warm(["11", 12, ("13", None), "no such user"], concurrency=2))
    assert [item.done for item in items] == [1, 2, 3, 4]
    assert {item.total for item in items} == {4}
    failed = {item.user: item.error for item in items if item.error is not None}
    assert set(failed) == {"no such user"}
    assert isinstance(failed["no such user"], NotFoundError)
    assert failed["no such user"].reason == "USER_NOT_FOUND"
    assert {item.user for item in items if item.status is not None} == {"11", "12", "13"}
    assert client.get("11").cache.is_cached


def test_a_strategy_can_be_named(client: Any) -> None:
    strategy = client.get("1").data.strategy_data.strategy_id
    (item,) = client.warm([("1", strategy)])
    assert (item.user, item.strategy, item.error) == ("1", strategy, None)


def test_leaving_early_ends_the_call(server: Server) -> None:
    with server.client(timeout=PATIENCE) as client:
        items = client.warm(range(1, 31), concurrency=1)
        assert inspect.isgenerator(items)
        next(items)
        items.close()
        # Never begun.
        client.warm(range(1, 31), concurrency=1)
        assert client.get("1").cache.verified


def test_leaving_early_ends_the_call_of_a_task(server: Server) -> None:
    async def leave() -> None:
        async with server.async_client(timeout=PATIENCE) as client:
            items = client.warm(range(1, 31), concurrency=1)
            assert inspect.isasyncgen(items)
            async with aclosing(items):
                await anext(items)
            assert (await client.get("1")).cache.verified

    asyncio.run(leave())


def test_items_are_sent_when_the_call_is_made(server: Server) -> None:
    with UserData(server.addr, timeout=PATIENCE) as client:
        made = client.warm(user for user in ("1", "2"))
        assert len(list(made)) == 2
