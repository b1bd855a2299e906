"""Errors: what a program can decide by, and that they hold nothing personal."""

from __future__ import annotations

import copy
import pickle
import socket
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from conftest import PATIENCE
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from scripted import Fail, ScriptedServer

import userdata_client
from userdata_client import (
    DeadlineExceededError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
    UserDataError,
    errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from userdata_client.testing import Server


def test_an_unknown_user_is_not_found(client: Any, server: Server) -> None:
    with pytest.raises(NotFoundError) as raised:
        client.get("no such user")
    error = raised.value
    assert (error.code, error.reason, error.message) == (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND", "user not found")
    assert error.retry_after is None
    assert error.request_id in str(error)
    assert "no such user" not in repr(error)
    assert isinstance(error.__cause__, grpc.RpcError)


def test_each_wrong_field_is_named(client: Any) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        client.get("", strategy=0, max_age=90_000, min_token="no token")
    assert raised.value.reason == "INVALID_ARGUMENT"
    assert {each.field for each in raised.value.field_violations} == {"user_id", "strategy_id", "max_age", "min_token"}
    assert all(each.description for each in raised.value.field_violations)


def test_nothing_listens(connect: Callable[..., Any]) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        client = connect(f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(UnavailableError) as raised:
            client.get("1")
    assert (raised.value.reason, raised.value.retry_after) == ("", None)
    assert raised.value.request_id


def test_the_timeout_holds_when_nothing_answers(connect: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        with pytest.raises(DeadlineExceededError):
            client.get("1")
        with pytest.raises(DeadlineExceededError):
            client.invalidate("1", timeout=0.1)
        with pytest.raises(DeadlineExceededError):
            list(client.warm(["1"], timeout=0.1))


def details(*parts: Message) -> tuple[tuple[str, str | bytes], ...]:
    status = status_pb2.Status()
    for part in parts:
        status.details.add().Pack(part)
    return (("grpc-status-details-bin", status.SerializeToString()),)


def test_all_details_of_an_error_are_read(connect: Callable[..., Any]) -> None:
    trailers = details(
        error_details_pb2.ErrorInfo(reason="SOURCE_FAILED", domain="userdata", metadata={"source": "onboarding"}),
        error_details_pb2.RetryInfo(retry_delay=Duration(nanos=250_000_000)),
        error_details_pb2.RequestInfo(request_id="r-1"),
        error_details_pb2.BadRequest(
            field_violations=[error_details_pb2.BadRequest.FieldViolation(field="a", description="b")]
        ),
    )
    with ScriptedServer(Fail(grpc.StatusCode.INTERNAL, trailers)) as scripted:
        with pytest.raises(userdata_client.InternalError) as raised:
            connect(scripted.addr).get("1")
    error = raised.value
    assert (error.reason, error.metadata, error.request_id) == ("SOURCE_FAILED", {"source": "onboarding"}, "r-1")
    assert error.retry_after == 0.25
    assert error.field_violations == (FieldViolation("a", "b"),)
    assert str(error) == "INTERNAL SOURCE_FAILED: as scripted (request r-1)"


def test_a_reason_of_another_service_is_not_taken_for_ours(connect: Callable[..., Any]) -> None:
    trailers = details(error_details_pb2.ErrorInfo(reason="RATE_LIMITED", domain="mesh.example"))
    with ScriptedServer(Fail(grpc.StatusCode.PERMISSION_DENIED, trailers)) as scripted:
        with pytest.raises(userdata_client.PermissionDeniedError) as raised:
            connect(scripted.addr).get("1")
    assert raised.value.reason == ""


@pytest.mark.parametrize("damaged", [b"\xff\xff", AnyMessage(type_url="x", value=b"y").SerializeToString()])
def test_damaged_details_do_not_hide_the_code(connect: Callable[..., Any], damaged: bytes) -> None:
    trailers = (("grpc-status-details-bin", damaged),)
    with ScriptedServer(Fail(grpc.StatusCode.NOT_FOUND, trailers)) as scripted, pytest.raises(NotFoundError):
        connect(scripted.addr).get("1")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_each_code_has_a_class(code: grpc.StatusCode) -> None:
    error = errors.of_status(status_pb2.Status(code=code.value[0], message="m"))
    assert error.code is code
    assert type(error) is not UserDataError
    assert type(error).__name__ in userdata_client.__all__
    assert (type(error).__doc__ or "").startswith(f"{code.name}: ")


def test_an_error_survives_pickling_and_copying() -> None:
    error = NotFoundError(
        "user not found",
        code=grpc.StatusCode.NOT_FOUND,
        reason="USER_NOT_FOUND",
        metadata={"a": "b"},
        field_violations=[FieldViolation("f", "d")],
        retry_after=1.5,
        request_id="r",
    )
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is NotFoundError
        assert twin.__dict__ == error.__dict__
        assert (str(twin), twin.args) == (str(error), error.args)


def fail_at(addr: str) -> None:
    with userdata_client.UserData(addr, timeout=PATIENCE) as client:
        client.get("no such user")


def test_an_error_comes_back_from_another_process(server: Server) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(NotFoundError) as raised:
        pool.submit(fail_at, server.addr).result()
    assert raised.value.reason == "USER_NOT_FOUND"
