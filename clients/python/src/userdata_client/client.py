"""The client for threads."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import grpc

from . import connection, errors, replies, requests, session, v1

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

    from _typeshed import StrPath
    from typing_extensions import Self, Unpack

    from .enums import Freshness, Section, Wait
    from .replies import CacheStats, Document, Invalidation, WarmedItem
    from .requests import UserId, WarmTarget

__all__ = ["Session", "UserData"]

Q = TypeVar("Q")
R = TypeVar("R")


@dataclass(frozen=True)
class _Opened:
    """A channel, and the process that it belongs to."""

    channel: grpc.Channel
    stub: v1.UserDataServiceStub
    process: int


class UserData:
    """A client of the service. Threads may share it; make one for the program and close it at its end.

    Example:
        with UserData("https://userdata.internal:50051", token=TOKEN) as client:
            document = client.get("1")

    It connects with its first call and balances calls over all addresses of the name. Calls that fail because the
    service is unavailable or overloaded are repeated within their timeout, up to four attempts; `warm` is not.

    Args:
        addr: ``http://HOST:PORT``, ``https://HOST:PORT``, or a name of gRPC such as ``dns:///HOST:PORT``.
        token: A bearer token, or a function that returns the one to use now.
        tls_ca: The file with the authority of the server's certificate, in PEM. Without it, https:// trusts gRPC's
            list of authorities.
        tls_cert: The file with a client certificate, in PEM.
        tls_key: The file with its key, in PEM.
        timeout: Seconds that a call may take, retries included.
        insecure_token: Whether the token may be sent unencrypted to another machine.
        options: Further channel options of gRPC. They take precedence.

    Raises:
        ValueError: an argument is wrong, or contradicts another one.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        addr: str = connection.ADDRESS_DEFAULT,
        *,
        token: connection.Token | None = None,
        tls_ca: StrPath | None = None,
        tls_cert: StrPath | None = None,
        tls_key: StrPath | None = None,
        timeout: float = connection.TIMEOUT_DEFAULT,
        insecure_token: bool = False,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self._connection = connection.Connection.of(
            addr,
            token=token,
            tls_ca=tls_ca,
            tls_cert=tls_cert,
            tls_key=tls_key,
            timeout=timeout,
            insecure_token=insecure_token,
            options=options,
        )
        # Connecting is put off until the first call, so that a client may be made before a process forks.
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._is_closed = False

    @classmethod
    def from_env(cls, **options: Unpack[connection.ClientOptions]) -> Self:
        """Make a client of what the environment names.

        ``USERDATA_ADDR`` (http://127.0.0.1:50051 if not set), ``USERDATA_TOKEN`` and ``USERDATA_TLS_CA`` are the
        variables of the command line. Arguments take precedence.
        """
        addr, options = connection.from_env(options)
        return cls(addr, **options)

    def get(
        self,
        user: UserId,
        *,
        strategy: int | None = None,
        sections: Iterable[Section | str] = (),
        params: Mapping[str, object] | None = None,
        min_token: str = "",
        freshness: Freshness | str = "default",
        max_age: float | timedelta | None = None,
        refresh: bool = False,
        timeout: float | None = None,
    ) -> Document:
        """Return the document of a user, from a cache tier or assembled from the sources.

        Args:
            user: The id of the user. An integer is sent in decimal.
            strategy: The id of the strategy. None: the active strategy of the user.
            sections: The sections to return. Empty: all.
            params: Parameters, part of the cache key; plain JSON values.
            min_token: The answer is at least as new as the invalidation that returned this token. `session` does this
                by itself.
            freshness: How fresh the answer must be: ``default``, ``strict`` or ``linearizable``.
            max_age: A cached document that is older is not used; seconds or a timedelta, at most 24 h.
            refresh: Read the sources and call the AI endpoint instead of using a cached copy.
            timeout: Seconds that the call may take, retries included. None: the client's.

        Raises:
            NotFoundError: the service does not know the user, or the strategy is not the user's.
            InvalidArgumentError: an argument breaks the contract; ``field_violations`` says which.
            UserDataError: the call failed in another way; see `userdata_client.errors`.
        """
        request = requests.get(
            user,
            strategy=strategy,
            sections=sections,
            params=params,
            min_token=min_token,
            freshness=freshness,
            max_age=max_age,
            refresh=refresh,
        )
        return replies.document(self._call(self._stub().GetComprehensiveUserData, request, timeout))

    def invalidate(
        self,
        user: UserId,
        *,
        strategy: int | None = None,
        wait: Wait | str = "local",
        reason: str = "",
        purge: bool = False,
        timeout: float | None = None,
    ) -> Invalidation:
        """Make everything unusable that was read before this call. It is durable when the call returns.

        Args:
            user: The id of the user.
            strategy: Only documents of this strategy and those without one. None: all documents of the user.
            wait: When to return: ``local``, or ``all`` for when no instance gives a verified older answer.
            reason: The reason, for the audit log, which shows it: at most 255 bytes.
            purge: Also delete all stored copies and AI responses. The call fails if one cannot be deleted.
            timeout: Seconds that the call may take, retries included. None: the client's.

        Raises:
            UnavailableError: the invalidation is not durable (``INVALIDATION_NOT_DURABLE``), or a tier could not be
                purged (``PURGE_INCOMPLETE``).
            UserDataError: the call failed in another way; see `userdata_client.errors`.
        """
        request = requests.invalidate(user, strategy=strategy, wait=wait, reason=reason, purge=purge)
        return replies.invalidation(self._call(self._stub().InvalidateCache, request, timeout))

    def stats(self, *, most_accessed: int = 0, instance_only: bool = False, timeout: float | None = None) -> CacheStats:
        """Return statistics of the cache table, and of the instance that answers, since it started.

        Args:
            most_accessed: How many of the most accessed documents to list, at most 100. 0: five.
            instance_only: Leave out what needs a database. The call then also succeeds while the database is down.
            timeout: Seconds that the call may take, retries included. None: the client's.
        """
        request = requests.stats(most_accessed=most_accessed, instance_only=instance_only)
        return replies.CacheStats(self._call(self._stub().GetCacheStats, request, timeout))

    def cleanup(self, *, limit: int = 0, timeout: float | None = None) -> int:
        """Delete expired rows of the cache table, and return their number.

        They are then no longer there as a fallback when a source fails.

        Args:
            limit: Rows to delete at most, up to 1,000,000. 0: all expired rows.
            timeout: Seconds that the call may take, retries included. None: the client's.
        """
        request = requests.cleanup(limit=limit)
        return self._call(self._stub().CleanupCache, request, timeout).deleted_count

    def warm(
        self,
        users: Iterable[WarmTarget] = (),
        *,
        most_accessed: int = 0,
        concurrency: int = 0,
        timeout: float = connection.WARM_TIMEOUT_DEFAULT,
    ) -> Iterator[WarmedItem]:
        """Load documents into the cache, and yield each as it is finished.

        The call starts at once. It ends with its last item, and when the iterator is closed or goes. An item that
        cannot be loaded has an ``error`` and does not stop the others.

        Args:
            users: The users, or pairs of user and strategy, at most 1000.
            most_accessed: Instead of users: so many of the most accessed documents, at most 1000.
            concurrency: Loads in parallel, at most 16. 0: four.
            timeout: Seconds that the whole call may take.
        """
        request = requests.warm(users, most_accessed=most_accessed, concurrency=concurrency)
        request_id = connection.new_request_id()
        call = self._stub().WarmCache(
            request,
            timeout=connection.checked_timeout(timeout),
            metadata=self._connection.metadata(request_id),
        )
        return _warmed(call, request_id)

    def session(self, tokens: Mapping[UserId, str] | None = None) -> Session:
        """Begin a session, in which reads see the session's own writes.

        Args:
            tokens: Tokens of an earlier session by user: `Session.token`.
        """
        return Session(self, tokens)

    def close(self) -> None:
        """End the connections. Calls that are running fail with CallCancelledError. It may be called again."""
        with self._lock:
            self._is_closed = True
            opened, self._opened = self._opened, None
        # A channel of another process has no threads in this one, and its end would wait for them.
        if opened is not None and opened.process == os.getpid():
            opened.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<UserData {self._connection.target.name}>"

    def _call(self, method: grpc.UnaryUnaryMultiCallable[Q, R], request: Q, timeout: float | None) -> R:
        request_id = connection.new_request_id()
        seconds = self._connection.timeout if timeout is None else connection.checked_timeout(timeout)
        try:
            return method(request, timeout=seconds, metadata=self._connection.metadata(request_id))
        except grpc.RpcError as error:
            raise errors.of_call(error, request_id) from error

    def _stub(self) -> v1.UserDataServiceStub:
        opened = self._opened
        if opened is None or opened.process != os.getpid():
            opened = self._open()
        return opened.stub

    def _open(self) -> _Opened:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the client is closed")
            if self._opened is None or self._opened.process != os.getpid():
                channel = self._channel()
                self._opened = _Opened(channel, v1.UserDataServiceStub(channel), os.getpid())
            return self._opened

    def _channel(self) -> grpc.Channel:
        to = self._connection
        if to.credentials is None:
            return grpc.insecure_channel(to.target.name, to.options)
        return grpc.secure_channel(to.target.name, to.credentials, to.options)


class _WarmCall(Protocol):
    def __iter__(self) -> Iterator[v1.WarmCacheResponse]: ...
    def cancel(self) -> bool: ...


def _warmed(call: _WarmCall, request_id: str) -> Iterator[WarmedItem]:
    try:
        for reply in call:
            yield replies.warmed_item(reply)
    except grpc.RpcError as error:
        raise errors.of_call(error, request_id) from error
    finally:
        call.cancel()


class Session:
    """Reads that see the session's own writes. Threads may share it; begin one for each piece of work.

    Example:
        with client.session() as session:
            session.invalidate("1")
            session.get("1")  # nothing from before the invalidation, whichever instance answers
    """

    def __init__(self, client: UserData, tokens: Mapping[UserId, str] | None) -> None:
        self._client = client
        self._tokens = session.Tokens(tokens)

    def get(self, user: UserId, **options: Unpack[session.GetOptions]) -> Document:
        """Return the document of a user, nothing older than the session wrote or read. See `UserData.get`."""
        sent = self._tokens.of(user)
        document = self._client.get(user, min_token=sent, **options)
        self._tokens.read(user, sent, document.cache.token)
        return document

    def invalidate(self, user: UserId, **options: Unpack[session.InvalidateOptions]) -> Invalidation:
        """Make everything unusable that was read before this call. See `UserData.invalidate`."""
        invalidation = self._client.invalidate(user, **options)
        self._tokens.wrote(user, invalidation.token)
        return invalidation

    def token(self, user: UserId) -> str | None:
        """The user's newest token, to go on with in another session. None: nothing was written or read."""
        return self._tokens.of(user) or None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tokens.clear()
