"""Sessions: reads that see the session's own writes, on whatever instance answers them.

A session keeps the newest token of each user, and sends it with that user's next read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, TypedDict

from . import requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from .enums import Freshness, Section, Wait
    from .requests import UserId

# Far more than the users of one piece of work.
USERS_MAX = 10_000


class GetOptions(TypedDict, total=False):
    """The keywords of ``get`` in a session: those of the client, but ``min_token``."""

    strategy: int | None
    sections: Iterable[Section | str]
    params: Mapping[str, object] | None
    freshness: Freshness | str
    max_age: float | timedelta | None
    refresh: bool
    timeout: float | None


class InvalidateOptions(TypedDict, total=False):
    """The keywords of ``invalidate``."""

    strategy: int | None
    wait: Wait | str
    reason: str
    purge: bool
    timeout: float | None


class Tokens:
    """The newest token of each user. May be used by several threads.

    A token is ``EPOCH:POSITION``. Positions of one epoch can be compared; of two epochs the later reply's counts.
    """

    def __init__(self, tokens: Mapping[UserId, str] | None = None) -> None:
        self._lock = threading.Lock()
        self._newest: OrderedDict[str, str] = OrderedDict()
        # The token for users that are no longer listed. It asks for more than their own one did.
        self._forgotten = ""
        for user, token in (tokens or {}).items():
            self.wrote(user, token)

    def of(self, user: UserId) -> str:
        """The token to send with a read. Empty: no condition."""
        with self._lock:
            return self._newest.get(requests.user_text(user), self._forgotten)

    def wrote(self, user: UserId, token: str) -> None:
        """An invalidation was acknowledged."""
        with self._lock:
            self._keep(requests.user_text(user), token)

    def read(self, user: UserId, sent: str, token: str) -> None:
        """A read that was sent with one token was answered with another.

        A token of another epoch costs a load for each read, so the reply's takes its place; unless a write was
        acknowledged meanwhile: the reply may be from before it.
        """
        user = requests.user_text(user)
        with self._lock:
            known = self._newest.get(user, self._forgotten)
            if known == sent or _epoch(known) == _epoch(token):
                self._keep(user, token)

    def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._newest.clear()
            self._forgotten = ""

    def _keep(self, user: str, token: str) -> None:
        self._newest[user] = _newer(self._newest.get(user, ""), token)
        self._newest.move_to_end(user)
        if len(self._newest) > USERS_MAX:
            _, forgotten = self._newest.popitem(last=False)
            self._forgotten = _newer(self._forgotten, forgotten)


def _newer(known: str, token: str) -> str:
    """The token with the higher position; of another epoch, the second one."""
    if _epoch(known) == _epoch(token) and _position(known) > _position(token):
        return known
    return token


def _epoch(token: str) -> str:
    return token.rpartition(":")[0]


def _position(token: str) -> int:
    position = token.rpartition(":")[2]
    return int(position) if position.isdecimal() else -1
