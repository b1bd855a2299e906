"""Arguments of calls as the contract's messages.

Only what has no form on the wire is refused here: the service checks the rest, and its error names each invalid field.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias, Union, cast

from google.protobuf.duration_pb2 import Duration

from . import v1
from .enums import Freshness, Section, Wait
from .plain import to_struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .enums import TextEnum

UserId: TypeAlias = str | int
"""A user's id. An integer id is sent in decimal."""
WarmTarget: TypeAlias = Union[str, int, "tuple[str | int, int | None]"]
"""A document to load: a user, or a user and a strategy."""


def user_text(user: UserId) -> str:
    """A user's id as the wire has it."""
    given = cast("object", user)
    if isinstance(given, str):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    raise TypeError(f"user: expected a str or an int, not a {type(given).__name__}")


def get(
    user: UserId,
    *,
    strategy: int | None,
    sections: Iterable[Section | str],
    params: Mapping[str, object] | None,
    min_token: str,
    freshness: Freshness | str,
    max_age: float | timedelta | None,
    refresh: bool,
) -> v1.GetComprehensiveUserDataRequest:
    """The request for a document."""
    return v1.GetComprehensiveUserDataRequest(
        user_id=user_text(user),
        strategy_id=strategy,
        force_refresh=refresh,
        parameters=None if params is None else to_struct(params),
        sections=_sections(sections),
        min_token=min_token,
        freshness=v1.Freshness.Value(f"FRESHNESS_{_member(Freshness, freshness, 'freshness').name}"),
        max_age=None if max_age is None else _duration(max_age),
    )


def invalidate(
    user: UserId, *, strategy: int | None, wait: Wait | str, reason: str, purge: bool
) -> v1.InvalidateCacheRequest:
    """The request for an invalidation."""
    return v1.InvalidateCacheRequest(
        user_id=user_text(user),
        strategy_id=strategy,
        wait=v1.Wait.Value(f"WAIT_{_member(Wait, wait, 'wait').name}"),
        reason=reason,
        purge=purge,
    )


def stats(*, most_accessed: int, instance_only: bool) -> v1.GetCacheStatsRequest:
    """The request for statistics."""
    return v1.GetCacheStatsRequest(most_accessed_limit=most_accessed, instance_only=instance_only)


def cleanup(*, limit: int) -> v1.CleanupCacheRequest:
    """The request for the deletion of expired rows."""
    return v1.CleanupCacheRequest(limit=limit)


def warm(users: Iterable[WarmTarget], *, most_accessed: int, concurrency: int) -> v1.WarmCacheRequest:
    """The request to load documents."""
    if isinstance(users, str):
        raise TypeError("users: expected several users, not a str")
    items = [_warm_item(user) for user in users]
    return v1.WarmCacheRequest(items=items, most_accessed=most_accessed, concurrency=concurrency)


def _warm_item(target: WarmTarget) -> v1.WarmItem:
    user, strategy = target if isinstance(target, tuple) else (target, None)
    return v1.WarmItem(user_id=user_text(user), strategy_id=strategy)


def _sections(sections: Iterable[Section | str]) -> list[v1.Section.ValueType]:
    if isinstance(sections, str):
        raise TypeError("sections: expected several sections, not a str")
    members = [_member(Section, section, "sections") for section in sections]
    return [v1.Section.Value(f"SECTION_{member.name}") for member in members]


def _member(enum: type[TextEnum], text: str, argument: str) -> TextEnum:
    try:
        return enum(text)
    except ValueError:
        expected = ", ".join(member.value for member in enum)
        raise ValueError(f"{argument}: {text!r} is none of {expected}") from None


def _duration(seconds: float | timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds))
    return duration
