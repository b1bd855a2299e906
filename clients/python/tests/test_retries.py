"""Which calls are repeated, alike in sync and async."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from scripted import Fail, ScriptedServer

from userdata_client import ResourceExhaustedError, UnavailableError, UserDataError, connection, v1

if TYPE_CHECKING:
    from collections.abc import Callable

CALLING = Path(__file__).parents[3] / "docs" / "calling.md"
# With pushback, so that the test need not wait for the policy's pauses.
UNAVAILABLE = Fail(grpc.StatusCode.UNAVAILABLE, (("grpc-retry-pushback-ms", "1"),))
DOCUMENT = v1.GetComprehensiveUserDataResponse(cache_info=v1.CacheInfo(status=v1.CacheStatus.CACHE_STATUS_ASSEMBLED))
CALLS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda client: client.get("1"), DOCUMENT),
    (lambda client: client.invalidate("1"), v1.InvalidateCacheResponse(token="e:1")),
    (lambda client: client.stats(), v1.GetCacheStatsResponse()),
    (lambda client: client.cleanup(), v1.CleanupCacheResponse()),
]


def overloaded(pushback_ms: int) -> Fail:
    return Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, (("grpc-retry-pushback-ms", str(pushback_ms)),))


@pytest.mark.parametrize(("call", "reply"), CALLS)
def test_an_unavailable_service_is_asked_again(connect: Callable[..., Any], call: Any, reply: Any) -> None:
    with ScriptedServer(UNAVAILABLE, UNAVAILABLE, reply) as scripted:
        call(connect(scripted.addr))
    assert len(scripted.received) == 3


def test_all_attempts_of_a_call_have_one_request_id(connect: Callable[..., Any]) -> None:
    with ScriptedServer(UNAVAILABLE, DOCUMENT) as scripted:
        client = connect(scripted.addr)
        client.get("1")
        client.get("1")
    ids = [call.metadata["x-request-id"] for call in scripted.received]
    assert ids[0] == ids[1] != ids[2]


def test_four_attempts_are_made_at_most(connect: Callable[..., Any]) -> None:
    with ScriptedServer(UNAVAILABLE) as scripted, pytest.raises(UnavailableError) as raised:
        connect(scripted.addr).get("1")
    assert len(scripted.received) == 4
    assert raised.value.request_id == scripted.received[0].metadata["x-request-id"]


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED])
def test_an_error_that_stays_is_not_repeated(connect: Callable[..., Any], code: grpc.StatusCode) -> None:
    with ScriptedServer(Fail(code), DOCUMENT) as scripted, pytest.raises(UserDataError):
        connect(scripted.addr).get("1")
    assert len(scripted.received) == 1


def test_an_overloaded_service_is_left_alone_as_long_as_it_says(connect: Callable[..., Any]) -> None:
    pause = 1.2  # More than the first pause of the retry policy, 0.5 s and its jitter.
    with ScriptedServer(overloaded(int(pause * 1000)), DOCUMENT) as scripted:
        connect(scripted.addr).get("1")
    first, second = scripted.received
    # A little less: both clocks are read late, and a timer may be a millisecond early.
    assert second.at - first.at > pause - 0.1


def test_a_service_that_wants_no_retry_gets_none(connect: Callable[..., Any]) -> None:
    with ScriptedServer(overloaded(-1), DOCUMENT) as scripted, pytest.raises(ResourceExhaustedError):
        connect(scripted.addr).get("1")
    assert len(scripted.received) == 1


@pytest.mark.parametrize("failure", [UNAVAILABLE, overloaded(1)])
def test_warming_is_never_repeated(connect: Callable[..., Any], failure: Fail) -> None:
    with ScriptedServer(failure, v1.WarmCacheResponse()) as scripted, pytest.raises(UserDataError):
        list(connect(scripted.addr).warm(["1"]))
    assert len(scripted.received) == 1


@pytest.mark.skipif(not CALLING.is_file(), reason="the service's pages are in a clone of the repository")
def test_the_retry_policy_is_the_one_that_the_service_advises() -> None:
    configurations = re.findall(r"```json\n(.*?)```", CALLING.read_text(encoding="utf-8"), re.DOTALL)
    advised = [json.loads(text) for text in configurations if "retryPolicy" in text]
    ours = connection.service_config()
    assert [(each["methodConfig"], each["loadBalancingConfig"]) for each in advised] == [
        (ours["methodConfig"], ours["loadBalancingConfig"])
    ]


def test_each_method_of_the_contract_is_either_repeated_or_warming() -> None:
    config = connection.service_config()
    (policy,) = config["methodConfig"]
    service = v1.GetCacheStatsRequest.DESCRIPTOR.file.services_by_name["UserDataService"]
    assert {name["service"] for name in policy["name"]} == {service.full_name}
    assert {name["method"] for name in policy["name"]} == {method.name for method in service.methods} - {"WarmCache"}
