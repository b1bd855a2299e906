"""How a client reaches the service: address, security, channel options, and what each call sends along.

Sync and async clients share all of this, so that they retry, balance and time out alike. Options are passed to gRPC in
full: its defaults suit other services.
"""

from __future__ import annotations

import ipaddress
import json
import math
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict
from urllib.parse import urlsplit

import grpc

from .version import __version__

if TYPE_CHECKING:
    from _typeshed import StrPath

ADDRESS_DEFAULT = "http://127.0.0.1:50051"
# The same as the server's own limit for a request that names none.
TIMEOUT_DEFAULT = 15.0
# A thousand documents at sixty AI calls a minute take 17 minutes.
WARM_TIMEOUT_DEFAULT = 3600.0
# A document of 4 MiB, which is the server's limit, and the head around it.
_RESPONSE_BYTES_MAX = 8 * 1024 * 1024

_SERVICE = "userdata.v1.UserDataService"
# Not WarmCache: an item that was loaded would be loaded again.
_RETRIED = ("GetComprehensiveUserData", "InvalidateCache", "GetCacheStats", "CleanupCache")

Token: TypeAlias = str | Callable[[], str]
"""A bearer token, or a function that returns the one to use now. It is called for each call."""
Metadata: TypeAlias = "tuple[tuple[str, str], ...]"


class ClientOptions(TypedDict, total=False):
    """Arguments of a client beside its address."""

    token: Token | None
    tls_ca: StrPath | None
    tls_cert: StrPath | None
    tls_key: StrPath | None
    timeout: float
    insecure_token: bool
    options: Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Target:
    """A server, or several, as gRPC names them."""

    name: str
    is_tls: bool
    is_local: bool

    @classmethod
    def parse(cls, addr: str, *, has_tls_files: bool) -> Target:
        """``http://HOST:PORT``, ``https://HOST:PORT``, ``HOST:PORT``, or a name of gRPC such as ``dns:///HOST:PORT``.

        Raises:
            ValueError: it is none of them, or contradicts the other arguments.
        """
        if not addr.strip() or addr != addr.strip():
            raise ValueError("addr: expected http://HOST:PORT, https://HOST:PORT or a name of gRPC")
        scheme = addr.split(":", 1)[0].lower()
        if scheme in ("http", "https"):
            return cls._of_url(addr, has_tls_files=has_tls_files)
        if scheme in ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds"):
            is_local = scheme.startswith("unix") or _is_loopback(urlsplit(addr).path.lstrip("/"))
            return cls(addr, has_tls_files, is_local)
        if "://" in addr:
            raise ValueError("addr: expected http://, https:// or a name of gRPC such as dns:///")
        return cls(f"dns:///{addr}", has_tls_files, _is_loopback(addr))

    @classmethod
    def _of_url(cls, addr: str, *, has_tls_files: bool) -> Target:
        url = urlsplit(addr)
        is_tls = url.scheme == "https"
        if not url.hostname or url.username is not None or url.path not in ("", "/") or url.query or url.fragment:
            raise ValueError("addr: expected http://HOST:PORT or https://HOST:PORT, and nothing after it")
        if has_tls_files and not is_tls:
            raise ValueError("addr: http:// is not encrypted, so no certificate is used; write https://")
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        port = url.port or (443 if is_tls else 80)
        return cls(f"dns:///{host}:{port}", is_tls, _is_loopback(f"{host}:{port}"))


def _is_loopback(host_and_port: str) -> bool:
    """Of a list, each."""
    return all(_is_loopback_host(each) for each in host_and_port.split(","))


def _is_loopback_host(host_and_port: str) -> bool:
    host = urlsplit(f"//{host_and_port}").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Connection:
    """What a channel is made of, and what each call sends. Its representation has no token."""

    target: Target
    options: tuple[tuple[str, Any], ...] = field(repr=False)
    credentials: grpc.ChannelCredentials | None = field(repr=False)
    token: Token | None = field(repr=False)
    timeout: float

    @classmethod
    def of(
        cls,
        addr: str,
        *,
        token: Token | None,
        tls_ca: StrPath | None,
        tls_cert: StrPath | None,
        tls_key: StrPath | None,
        timeout: float,
        insecure_token: bool,
        options: Sequence[tuple[str, Any]],
    ) -> Connection:
        """Reads the files. Nothing is connected yet."""
        files = (tls_ca, tls_cert, tls_key)
        target = Target.parse(addr, has_tls_files=any(file is not None for file in files))
        if (tls_cert is None) != (tls_key is None):
            raise ValueError("tls_cert and tls_key: expected both or none")
        if isinstance(token, str):
            token = checked_token(token)
        if token is not None and not target.is_tls and not target.is_local and not insecure_token:
            raise ValueError(
                "token: others could read it on the way; write https://, or insecure_token=True on a trusted network"
            )
        return cls(
            target=target,
            # The last of equal names counts.
            options=(*_options(target), *options),
            credentials=_credentials(*files) if target.is_tls else None,
            token=token,
            timeout=checked_timeout(timeout),
        )

    def metadata(self, request_id: str) -> Metadata:
        """What a call with this id sends."""
        token = self.token if self.token is None or isinstance(self.token, str) else checked_token(self.token())
        sent = ("x-request-id", request_id)
        return (sent,) if token is None else (sent, ("authorization", f"Bearer {token}"))


def from_env(options: ClientOptions) -> tuple[str, ClientOptions]:
    """The address and the other arguments of a client: given ones first, then the environment's."""
    known: ClientOptions = {"token": _variable("TOKEN"), "tls_ca": _variable("TLS_CA")}
    return _variable("ADDR") or ADDRESS_DEFAULT, {**known, **options}


def _variable(name: str) -> str | None:
    """An empty variable counts as not set."""
    return os.environ.get(f"USERDATA_{name}") or None


def new_request_id() -> str:
    """An id for one call and its retries."""
    return uuid.uuid4().hex


def checked_timeout(seconds: float) -> float:
    """The timeout, if it is one."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError("timeout: expected seconds above 0")
    return seconds


def checked_token(token: str) -> str | None:
    """The token without blanks around it: a file or a secret often ends with a line feed. None: it is empty."""
    token = token.strip()
    if not all("!" <= char <= "~" for char in token):
        # Not quoted: it is a secret.
        raise ValueError("token: expected visible ASCII characters without spaces")
    return token or None


def _credentials(tls_ca: StrPath | None, tls_cert: StrPath | None, tls_key: StrPath | None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls_ca), private_key=_read(tls_key), certificate_chain=_read(tls_cert)
    )


def _read(file: str | os.PathLike[str] | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


def _options(target: Target) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.primary_user_agent", f"userdata-client-python/{__version__}"),
        ("grpc.service_config", json.dumps(service_config())),
        # Only ours: a record in DNS must not change what is repeated.
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", _RESPONSE_BYTES_MAX),
        # A peer that is gone is noticed within 40 s, also while a stream is silent or there are no calls.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # By default the pause between attempts to connect grows to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 5_000),
        ("grpc.max_reconnect_backoff_ms", 5_000),
    ]
    if target.is_local:
        # A proxy does not reach this machine's own addresses.
        options.append(("grpc.enable_http_proxy", 0))
    if target.name.startswith(("ipv4:", "ipv6:")) and not target.is_tls:
        # gRPC would send the list of addresses as the authority, which HTTP/2 does not allow.
        options.append(("grpc.default_authority", "userdata"))
    return options


def service_config() -> dict[str, Any]:
    """How calls are balanced and repeated.

    The retry policy is that of docs/calling.md. UNAVAILABLE is repeated, and so is RESOURCE_EXHAUSTED: an overloaded
    server says by pushback when to come back. The pauses outlast the second for which a failed load's failure is the
    answer. Health is not watched: a server has a limited number of such calls, and a client without one would have no
    connection. An instance that shuts down says so, and the call is repeated on another.
    """
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{"service": _SERVICE, "method": method} for method in _RETRIED],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.5s",
                    "maxBackoff": "3s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
                },
            }
        ],
        # When most calls fail, retries stop until calls succeed again.
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.5},
    }
