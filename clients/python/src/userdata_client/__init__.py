"""Client of userdata: one call, the whole user.

    from userdata_client import UserData

    with UserData("http://127.0.0.1:50051") as client:
        document = client.get("1")
        print(document.cache.status, document.to_dict()["industry"])

`UserData` is for threads, `AsyncUserData` for asyncio. Errors are in `userdata_client.errors`, the contract's messages
in `userdata_client.v1`, and a server for tests in `userdata_client.testing`.
"""

from .aio import AsyncSession, AsyncUserData
from .client import Session, UserData
from .enums import CacheStatus, Changes, Freshness, Generator, Section, State, Wait
from .errors import (
    AbortedError,
    AlreadyExistsError,
    CallCancelledError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
    UserDataError,
)
from .replies import CacheInfo, CacheStats, Document, Invalidation, SectionReport, WarmedItem
from .version import __version__

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "AsyncSession",
    "AsyncUserData",
    "CacheInfo",
    "CacheStats",
    "CacheStatus",
    "CallCancelledError",
    "Changes",
    "DataLossError",
    "DeadlineExceededError",
    "Document",
    "FailedPreconditionError",
    "FieldViolation",
    "Freshness",
    "Generator",
    "InternalError",
    "InvalidArgumentError",
    "Invalidation",
    "NotFoundError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "Section",
    "SectionReport",
    "Session",
    "State",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "UserData",
    "UserDataError",
    "Wait",
    "WarmedItem",
    "__version__",
]
