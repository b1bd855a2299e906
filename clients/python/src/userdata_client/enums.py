"""The contract's enums as text enums.

Each member equals its text: ``document.cache.status == "HIT_MEMORY"``, ``sections=["strategy"]``. The names are those
of the command line. A value that is newer than this package is ``UNKNOWN``.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CacheStatus", "Changes", "Freshness", "Generator", "Section", "State", "Wait"]


class TextEnum(str, Enum):
    """A text enum that prints as its text, in every version of Python."""

    def __str__(self) -> str:
        return str.__str__(self)


class _Answered(TextEnum):
    """An enum of replies."""

    @classmethod
    def named(cls, name: str) -> Self:
        """The member of the contract's name, without its prefix."""
        return cls(name) if name in cls.__members__ else cls("UNKNOWN")


class Section(TextEnum):
    """A part of the document that is read, reported and replaced as a whole."""

    ONBOARDING = "onboarding"
    """What the user entered, and the analysis of the website."""
    STRATEGY = "strategy"
    """The content strategy and scores of its quality."""
    AI_ANALYSIS = "ai_analysis"
    """The analysis of strategy and onboarding."""
    GAP_ANALYSIS = "gap_analysis"
    """Comparison of the user's topics with the competitors' topics."""
    PERFORMANCE = "performance"
    """Measured performance of content and strategy."""
    RECOMMENDATIONS = "recommendations"
    """Stored content recommendations."""
    DERIVED = "derived"
    """Fields derived from onboarding and strategy."""


class Freshness(TextEnum):
    """How fresh an answer must be."""

    DEFAULT = "default"
    """Newer than every invalidation acknowledged 500 ms ago, or flagged ``verified=False``."""
    STRICT = "strict"
    """As DEFAULT, but never unverified or STALE: read from the sources, or UnavailableError."""
    LINEARIZABLE = "linearizable"
    """Newer than every invalidation acknowledged anywhere; costs a reading of the log for each call."""


class Wait(TextEnum):
    """When ``invalidate`` returns."""

    LOCAL = "local"
    """When the invalidation is durable and the instance that was called applies it."""
    ALL = "all"
    """When no instance gives a verified answer older than the call."""


class CacheStatus(_Answered):
    """Where an answer came from."""

    HIT_MEMORY = "HIT_MEMORY"
    """From the memory of the instance that was called."""
    HIT_REDIS = "HIT_REDIS"
    """From Redis."""
    HIT_DATABASE = "HIT_DATABASE"
    """From the cache table."""
    SHARED = "SHARED"
    """From a load that another request started."""
    ASSEMBLED = "ASSEMBLED"
    """From the sources, in a load that this request started."""
    REFRESHED = "REFRESHED"
    """From the sources, because of ``refresh=True``."""
    STALE = "STALE"
    """An expired document, because a source failed."""
    UNKNOWN = "UNKNOWN"
    """A value that is newer than this package."""


class State(_Answered):
    """The outcome of reading a section."""

    OK = "OK"
    """It was read."""
    STALE = "STALE"
    """The source failed. This is its last successful answer, and no invalidation has outdated it."""
    FAILED = "FAILED"
    """The source failed and there is no earlier answer: the fields of the section are absent."""
    NOT_FOUND = "NOT_FOUND"
    """The source has no data of this user. The section counts as complete."""
    UNKNOWN = "UNKNOWN"
    """A value that is newer than this package."""


class Generator(_Answered):
    """How a section was made."""

    UNSPECIFIED = "UNSPECIFIED"
    """Not stated."""
    DATABASE = "DATABASE"
    """Read from stored rows."""
    RULES = "RULES"
    """Fixed rules, without a model."""
    MODEL = "MODEL"
    """An answer of the configured AI model."""
    ALGORITHM = "ALGORITHM"
    """Computed from texts and keywords."""
    UNKNOWN = "UNKNOWN"
    """A value that is newer than this package."""


class Changes(_Answered):
    """Whether changes of the sources make themselves known."""

    KNOWN = "KNOWN"
    """A committed change outdates the cached document by itself, within a second."""
    NOT_WATCHED = "NOT_WATCHED"
    """Only ``invalidate`` tells of changes."""
    UNKNOWN = "UNKNOWN"
    """A value that is newer than this package."""
