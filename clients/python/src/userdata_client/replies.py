"""What calls return: the contract's messages with Python's types around them.

A representation (``repr``) holds no user id and no payload, so that it may be logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from . import errors, plain, v1
from .enums import CacheStatus, Changes, Generator, Section, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

__all__ = ["CacheInfo", "CacheStats", "Document", "Invalidation", "SectionReport", "WarmedItem"]

# The top-level fields of each section: comprehensive_user_data.proto.
_FIELDS: dict[Section, tuple[str, ...]] = {
    Section.DERIVED: ("user_id", "industry", "target_audience", "business_goals", "platform_preferences"),
    Section.ONBOARDING: ("onboarding_data", "website_analysis", "competitor_analysis", "keyword_analysis"),
    Section.STRATEGY: ("strategy_data", "strategy_analysis", "quality_indicators"),
    Section.AI_ANALYSIS: ("ai_analysis_results",),
    Section.GAP_ANALYSIS: ("gap_analysis",),
    Section.PERFORMANCE: ("performance_data",),
    Section.RECOMMENDATIONS: ("recommendations_data",),
}


@dataclass(frozen=True)
class CacheInfo:
    """Where an answer came from and how old it is."""

    status: CacheStatus
    """Where the document came from."""
    is_cached: bool
    """Whether it came from a cache tier: true for the HIT statuses and STALE."""
    force_refresh: bool
    """Whether the request was made with ``refresh=True``."""
    verified: bool
    """False: an invalidation, or a change of the sources, may be missing."""
    complete: bool
    """Whether no section is STALE or FAILED. NOT_FOUND counts as complete."""
    changes: Changes
    """Whether changes of the sources make themselves known, so that ``verified`` covers them."""
    token: str
    """The position in the invalidation log up to which the answer is current; can be used as ``min_token``."""
    timestamp: datetime
    """When the server answered, by its clock, in UTC."""
    assembled_at: datetime
    """When the assembly of the document started, in UTC."""
    expires_at: datetime
    """When the document expires, in UTC."""
    age: timedelta
    """The time since ``assembled_at``."""
    data_hash: str = field(repr=False)
    """The cache key: SHA-256 of user, strategy and parameters, as 64 hex digits."""


@dataclass(frozen=True)
class SectionReport:
    """How one section was read."""

    section: Section
    """The section."""
    state: State
    """The outcome."""
    generator: Generator
    """How the section was made."""
    read_at: datetime | None
    """When reading its sources started, in UTC. None: they were never read."""
    took: timedelta | None
    """How long reading took."""
    reason: str
    """Why the state is not OK, in UPPER_SNAKE_CASE. Empty: no reason."""
    warnings: tuple[str, ...]
    """What was left out, such as ``MALFORMED_COLUMN website_analyses.seo_audit``."""
    detail: str
    """More about the generator, such as provider and model. May be empty."""


@dataclass(frozen=True, repr=False)
class Document:
    """The document of a user, and where it came from."""

    data: v1.ComprehensiveUserData
    """The document, or the selected sections of it, as the contract's message."""
    cache: CacheInfo
    """Where it came from and how old it is."""
    sections: Mapping[str, SectionReport]
    """A report for each selected section, by its name: ``document.sections["strategy"].state``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the document as plain JSON values, made anew for each call.

        Names are those of the contract. What is absent is left out, and so are fields of sections that were not asked
        for or that failed. int64 are ints, enums are names, times are RFC 3339. In free-form fields integral numbers
        below 2^53 are ints.
        """
        read = {name for name, report in self.sections.items() if report.state is not State.FAILED}
        left_out = {name for section, names in _FIELDS.items() if section not in read for name in names}
        return plain.to_dict(self.data, frozenset(left_out))

    def __repr__(self) -> str:
        cache = self.cache
        doubts = [word for word, holds in (("unverified", cache.verified), ("incomplete", cache.complete)) if not holds]
        seconds = f"{cache.age.total_seconds():.3f} s old"
        return f"<Document {', '.join([cache.status, seconds, f'{len(self.sections)} sections', *doubts])}>"


@dataclass(frozen=True)
class Invalidation:
    """The acknowledgement of an invalidation that is durable."""

    token: str
    """The position of the invalidation in the log; can be used as ``min_token``."""
    removed_entries: int
    """Rows deleted from the cache table. Best effort without ``purge``."""


@dataclass(frozen=True, repr=False)
class CacheStats:
    """Statistics of the cache table, and of the instance that answered, since it started."""

    data: v1.GetCacheStatsResponse
    """The contract's message."""

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as plain JSON values, in the form of `Document.to_dict`."""
        return plain.to_dict(self.data)

    def __repr__(self) -> str:
        # The most accessed documents name users.
        return f"<CacheStats {self.data.requests} requests, hit rate {self.data.hit_rate:.3f}>"


@dataclass(frozen=True)
class WarmedItem:
    """One finished item of ``warm``."""

    done: int
    """Items finished so far, including this one."""
    total: int
    """Total number of items."""
    user: str = field(repr=False)
    """The id of the user."""
    strategy: int | None = field(repr=False)
    """The id of the strategy. None: the active strategy of the user."""
    status: CacheStatus | None
    """Where the document came from. None: the load failed."""
    error: errors.UserDataError | None
    """Why the load failed. None: it succeeded."""


def document(reply: v1.GetComprehensiveUserDataResponse) -> Document:
    """The document in a reply."""
    reports = [_report(each) for each in reply.sections]
    # A section that is newer than this package has no name here.
    sections: dict[str, SectionReport] = {report.section: report for report in reports if report is not None}
    return Document(data=reply.data, cache=_cache_info(reply.cache_info), sections=sections)


def invalidation(reply: v1.InvalidateCacheResponse) -> Invalidation:
    """The acknowledgement in a reply."""
    return Invalidation(token=reply.token, removed_entries=reply.removed_entries)


def warmed_item(reply: v1.WarmCacheResponse) -> WarmedItem:
    """The item in a message of the stream."""
    failed = reply.HasField("error")
    return WarmedItem(
        done=reply.done,
        total=reply.total,
        user=reply.item.user_id,
        strategy=reply.item.strategy_id if reply.item.HasField("strategy_id") else None,
        status=None if failed else CacheStatus.named(_name(v1.CacheStatus, reply.status, "CACHE_STATUS_")),
        error=errors.of_status(reply.error) if failed else None,
    )


def _cache_info(info: v1.CacheInfo) -> CacheInfo:
    return CacheInfo(
        status=CacheStatus.named(_name(v1.CacheStatus, info.status, "CACHE_STATUS_")),
        is_cached=info.is_cached,
        force_refresh=info.force_refresh,
        verified=info.verified,
        complete=info.complete,
        changes=Changes.named(_name(v1.Changes, info.changes, "CHANGES_")),
        token=info.token,
        timestamp=_time(info.timestamp),
        assembled_at=_time(info.assembled_at),
        expires_at=_time(info.expires_at),
        age=info.age.ToTimedelta(),
        data_hash=info.data_hash,
    )


def _report(report: v1.SectionReport) -> SectionReport | None:
    name = _name(v1.Section, report.section, "SECTION_")
    if name not in Section.__members__:
        return None
    return SectionReport(
        section=Section[name],
        state=State.named(_name(v1.State, report.state, "STATE_")),
        generator=Generator.named(_name(v1.Generator, report.generator, "GENERATOR_")),
        read_at=_time(report.read_at) if report.HasField("read_at") else None,
        took=report.took.ToTimedelta() if report.HasField("took") else None,
        reason=report.reason,
        warnings=tuple(report.warnings),
        detail=report.detail,
    )


def _name(enum: v1.EnumType, number: int, prefix: str) -> str:
    value = enum.DESCRIPTOR.values_by_number.get(number)
    return "" if value is None else value.name.removeprefix(prefix)


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=timezone.utc)
