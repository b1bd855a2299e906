"""Errors of calls, by gRPC's code.

A failed call raises the class of its code. What the service adds to the code comes along: the reason, the fields that
are wrong, the wait before a retry, the id of the request. Errors hold no payload and no user id, and can be pickled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message

# It has types without being a stub package.
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "CallCancelledError",
    "DataLossError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "FieldViolation",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "UserDataError",
]

# What the service calls itself in google.rpc.ErrorInfo.
_DOMAIN = "userdata"
_DETAILS = "grpc-status-details-bin"
_REQUEST_ID = "x-request-id"

_Message = TypeVar("_Message", bound=Message)


@dataclass(frozen=True)
class FieldViolation:
    """What is wrong with one field of a request. It never quotes the value."""

    field: str
    """The name of the field, as in the contract."""
    description: str
    """What the field must be."""


@dataclass(frozen=True)
class _Details:
    """What the service adds to a code."""

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    field_violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None
    request_id: str = ""


class UserDataError(Exception):
    """A call failed. Each code has a subclass."""

    code: grpc.StatusCode
    """gRPC's code."""
    message: str
    """What failed, for developers."""
    reason: str
    """Why, in UPPER_SNAKE_CASE, such as ``USER_NOT_FOUND``. Empty if the service did not answer."""
    metadata: Mapping[str, str]
    """More about the reason, such as ``{"source": "onboarding"}``."""
    field_violations: tuple[FieldViolation, ...]
    """The fields of the request that are wrong."""
    retry_after: float | None
    """Seconds to wait before a retry. None: the service names no time."""
    request_id: str
    """The id under which the service logs the call. Empty for an item of ``warm``."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        field_violations: Iterable[FieldViolation] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.field_violations = tuple(field_violations)
        self.retry_after = retry_after
        self.request_id = request_id

    def __str__(self) -> str:
        # A deadline has the same word for both.
        names = self.code.name if self.reason in ("", self.code.name) else f"{self.code.name} {self.reason}"
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{names}: {self.message}{request}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        keywords = {name: value for name, value in self.__dict__.items() if name in _KEYWORDS}
        return _rebuilt, (type(self), self.message, keywords)


_KEYWORDS = ("code", "reason", "metadata", "field_violations", "retry_after", "request_id")


def _rebuilt(kind: type[UserDataError], message: str, keywords: dict[str, Any]) -> UserDataError:
    return kind(message, **keywords)


class CallCancelledError(UserDataError):
    """CANCELLED: the call was given up, for example because the client was closed."""


class UnknownError(UserDataError):
    """UNKNOWN: something between the client and the service answered in its place."""


class InvalidArgumentError(UserDataError):
    """INVALID_ARGUMENT: the request breaks the contract; ``field_violations`` says where."""


class DeadlineExceededError(UserDataError):
    """DEADLINE_EXCEEDED: no answer within the timeout. A load that the call started goes on."""


class NotFoundError(UserDataError):
    """NOT_FOUND: the service does not know the user, or the strategy is not the user's."""


class AlreadyExistsError(UserDataError):
    """ALREADY_EXISTS: not used by the service today."""


class PermissionDeniedError(UserDataError):
    """PERMISSION_DENIED: the role of the caller does not entitle it to the method."""


class ResourceExhaustedError(UserDataError):
    """RESOURCE_EXHAUSTED: the service is overloaded, or the reply would be too large. ``reason`` tells which."""


class FailedPreconditionError(UserDataError):
    """FAILED_PRECONDITION: not used by the service today."""


class AbortedError(UserDataError):
    """ABORTED: not used by the service today."""


class OutOfRangeError(UserDataError):
    """OUT_OF_RANGE: the request has more bytes than requests may have."""


class UnimplementedError(UserDataError):
    """UNIMPLEMENTED: the server is older than the method, or is no userdata server."""


class InternalError(UserDataError):
    """INTERNAL: a defect of the service. Its log has ``request_id``."""


class UnavailableError(UserDataError):
    """UNAVAILABLE: no connection, or the service cannot answer now. All retries have failed too."""


class DataLossError(UserDataError):
    """DATA_LOSS: not used by the service today."""


class UnauthenticatedError(UserDataError):
    """UNAUTHENTICATED: the token or the client certificate is missing, unknown or expired."""


_CLASSES: dict[grpc.StatusCode, type[UserDataError]] = {
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNKNOWN: UnknownError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.ABORTED: AbortedError,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRangeError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DATA_LOSS: DataLossError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
}
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def of_call(error: grpc.RpcError, request_id: str) -> UserDataError:
    """The error of a call that was sent with this id."""
    call = cast("_FailedCall", error)
    metadata = _metadata(call)
    details = _details(metadata.get(_DETAILS))
    sent_back = metadata.get(_REQUEST_ID)
    known_id = details.request_id or (sent_back if isinstance(sent_back, str) else "") or request_id
    return _error(call.code(), call.details() or "", details, known_id)


def of_status(status: status_pb2.Status) -> UserDataError:
    """The error of one item of a stream."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    details = _details(status.SerializeToString())
    return _error(code, status.message, details, details.request_id)


def _error(code: grpc.StatusCode, message: str, details: _Details, request_id: str) -> UserDataError:
    return _CLASSES.get(code, UserDataError)(
        message,
        code=code,
        reason=details.reason,
        metadata=details.metadata,
        field_violations=details.field_violations,
        retry_after=details.retry_after,
        request_id=request_id,
    )


class _FailedCall(Protocol):
    """What the errors of sync and async calls have in common. An error that gRPC makes itself has no metadata."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def initial_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def _metadata(call: _FailedCall) -> dict[str, str | bytes]:
    """Both parts: an answer that is only an error has one of them."""
    return {key: value for part in (call.initial_metadata(), call.trailing_metadata()) for key, value in part or ()}


def _details(encoded: str | bytes | None) -> _Details:
    if not isinstance(encoded, bytes):
        return _Details()
    try:
        return _parsed(status_pb2.Status.FromString(encoded))
    except DecodeError:
        # What a proxy has damaged must not hide the code.
        return _Details()


def _parsed(status: status_pb2.Status) -> _Details:
    encoded = {detail.type_url.rpartition("/")[2]: detail.value for detail in status.details}
    info = _part(error_details_pb2.ErrorInfo, encoded)
    bad = _part(error_details_pb2.BadRequest, encoded)
    retry = _part(error_details_pb2.RetryInfo, encoded)
    ours = info.domain == _DOMAIN
    return _Details(
        reason=info.reason if ours else "",
        metadata=dict(info.metadata) if ours else {},
        field_violations=tuple(FieldViolation(each.field, each.description) for each in bad.field_violations),
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
        request_id=_part(error_details_pb2.RequestInfo, encoded).request_id,
    )


def _part(kind: type[_Message], encoded: Mapping[str, bytes]) -> _Message:
    """A detail; an empty one if it is not there."""
    return kind.FromString(encoded.get(kind.DESCRIPTOR.full_name, b""))
