"""The client for asyncio."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from . import connection, errors, replies, requests, session, v1

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

    from _typeshed import StrPath
    from typing_extensions import Self, Unpack

    from .enums import Freshness, Section, Wait
    from .replies import CacheStats, Document, Invalidation, WarmedItem
    from .requests import UserId, WarmTarget
    from .v1.user_data_service_pb2_grpc import UserDataServiceAsyncStub

__all__ = ["AsyncSession", "AsyncUserData"]

Q = TypeVar("Q")
R = TypeVar("R")


@dataclass(frozen=True)
class _Opened:
    """A channel, and the event loop that it belongs to."""

    channel: grpc.aio.Channel
    stub: UserDataServiceAsyncStub
    loop: asyncio.AbstractEventLoop


class AsyncUserData:
    """A client of the service for asyncio. Tasks of one event loop may share it; make one for the program.

    Example:
        async with AsyncUserData("https://userdata.internal:50051", token=TOKEN) as client:
            document = await client.get("1")

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
        # It connects with the first call, which knows the event loop.
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

    async def get(
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
        return replies.document(await self._call(self._stub().GetComprehensiveUserData, request, timeout))

    async def invalidate(
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
        return replies.invalidation(await self._call(self._stub().InvalidateCache, request, timeout))

    async def stats(
        self, *, most_accessed: int = 0, instance_only: bool = False, timeout: float | None = None
    ) -> CacheStats:
        """Return statistics of the cache table, and of the instance that answers, since it started.

        Args:
            most_accessed: How many of the most accessed documents to list, at most 100. 0: five.
            instance_only: Leave out what needs a database. The call then also succeeds while the database is down.
            timeout: Seconds that the call may take, retries included. None: the client's.
        """
        request = requests.stats(most_accessed=most_accessed, instance_only=instance_only)
        return replies.CacheStats(await self._call(self._stub().GetCacheStats, request, timeout))

    async def cleanup(self, *, limit: int = 0, timeout: float | None = None) -> int:
        """Delete expired rows of the cache table, and return their number.

        They are then no longer there as a fallback when a source fails.

        Args:
            limit: Rows to delete at most, up to 1,000,000. 0: all expired rows.
            timeout: Seconds that the call may take, retries included. None: the client's.
        """
        request = requests.cleanup(limit=limit)
        return (await self._call(self._stub().CleanupCache, request, timeout)).deleted_count

    def warm(
        self,
        users: Iterable[WarmTarget] = (),
        *,
        most_accessed: int = 0,
        concurrency: int = 0,
        timeout: float = connection.WARM_TIMEOUT_DEFAULT,
    ) -> AsyncIterator[WarmedItem]:
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

    def session(self, tokens: Mapping[UserId, str] | None = None) -> AsyncSession:
        """Begin a session, in which reads see the session's own writes.

        Args:
            tokens: Tokens of an earlier session by user: `AsyncSession.token`.
        """
        return AsyncSession(self, tokens)

    async def close(self) -> None:
        """End the connections. Calls that are running end with asyncio.CancelledError. It may be called again."""
        self._is_closed = True
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncUserData {self._connection.target.name}>"

    async def _call(self, method: grpc.aio.UnaryUnaryMultiCallable[Q, R], request: Q, timeout: float | None) -> R:
        request_id = connection.new_request_id()
        seconds = self._connection.timeout if timeout is None else connection.checked_timeout(timeout)
        try:
            return await method(request, timeout=seconds, metadata=self._connection.metadata(request_id))
        except grpc.aio.AioRpcError as error:
            raise errors.of_call(error, request_id) from error

    def _stub(self) -> UserDataServiceAsyncStub:
        opened, loop = self._opened, asyncio.get_running_loop()
        if self._is_closed:
            raise RuntimeError("the client is closed")
        if opened is None:
            channel = self._channel()
            opened = self._opened = _Opened(channel, v1.UserDataServiceStub(channel), loop)
        if opened.loop is not loop:
            raise RuntimeError("the client was used in another event loop; make one for each loop")
        return opened.stub

    def _channel(self) -> grpc.aio.Channel:
        to = self._connection
        if to.credentials is None:
            return grpc.aio.insecure_channel(to.target.name, to.options)
        return grpc.aio.secure_channel(to.target.name, to.credentials, to.options)


async def _warmed(
    call: grpc.aio.UnaryStreamCall[v1.WarmCacheRequest, v1.WarmCacheResponse], request_id: str
) -> AsyncIterator[WarmedItem]:
    try:
        async for reply in call:
            yield replies.warmed_item(reply)
    except grpc.aio.AioRpcError as error:
        raise errors.of_call(error, request_id) from error
    finally:
        call.cancel()


class AsyncSession:
    """Reads that see the session's own writes. Tasks may share it; begin one for each piece of work.

    Example:
        async with client.session() as session:
            await session.invalidate("1")
            await session.get("1")  # nothing from before the invalidation, whichever instance answers
    """

    def __init__(self, client: AsyncUserData, tokens: Mapping[UserId, str] | None) -> None:
        self._client = client
        self._tokens = session.Tokens(tokens)

    async def get(self, user: UserId, **options: Unpack[session.GetOptions]) -> Document:
        """Return the document of a user, nothing older than the session wrote or read. See `AsyncUserData.get`."""
        sent = self._tokens.of(user)
        document = await self._client.get(user, min_token=sent, **options)
        self._tokens.read(user, sent, document.cache.token)
        return document

    async def invalidate(self, user: UserId, **options: Unpack[session.InvalidateOptions]) -> Invalidation:
        """Make everything unusable that was read before this call. See `AsyncUserData.invalidate`."""
        invalidation = await self._client.invalidate(user, **options)
        self._tokens.wrote(user, invalidation.token)
        return invalidation

    def token(self, user: UserId) -> str | None:
        """The user's newest token, to go on with in another session. None: nothing was written or read."""
        return self._tokens.of(user) or None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tokens.clear()
