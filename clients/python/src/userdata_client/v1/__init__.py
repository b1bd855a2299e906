"""The contract's messages and enums, generated from ``proto/userdata/v1`` (see ``generate``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .comprehensive_user_data_pb2 import ComprehensiveUserData, Generator, Section
from .user_data_service_pb2 import (
    CacheInfo,
    CacheStatus,
    Changes,
    CleanupCacheRequest,
    CleanupCacheResponse,
    Freshness,
    GetCacheStatsRequest,
    GetCacheStatsResponse,
    GetComprehensiveUserDataRequest,
    GetComprehensiveUserDataResponse,
    InvalidateCacheRequest,
    InvalidateCacheResponse,
    SectionReport,
    State,
    Wait,
    WarmCacheRequest,
    WarmCacheResponse,
    WarmItem,
)
from .user_data_service_pb2_grpc import UserDataServiceStub

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor

__all__ = [
    "CacheInfo",
    "CacheStatus",
    "Changes",
    "CleanupCacheRequest",
    "CleanupCacheResponse",
    "ComprehensiveUserData",
    "EnumType",
    "Freshness",
    "Generator",
    "GetCacheStatsRequest",
    "GetCacheStatsResponse",
    "GetComprehensiveUserDataRequest",
    "GetComprehensiveUserDataResponse",
    "InvalidateCacheRequest",
    "InvalidateCacheResponse",
    "Section",
    "SectionReport",
    "State",
    "UserDataServiceStub",
    "Wait",
    "WarmCacheRequest",
    "WarmCacheResponse",
    "WarmItem",
]


class EnumType(Protocol):
    """An enum of the contract."""

    @property
    def DESCRIPTOR(self) -> EnumDescriptor:  # noqa: N802 protobuf's name.
        """Its description."""
        ...
