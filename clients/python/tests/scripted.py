"""A gRPC server that answers each call by the next line of a script, and notes what it got.

What a real server does only under load, such as refusing a call with pushback, can be asked of it at any time.
"""

from __future__ import annotations

import threading
import time
from concurrent import futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from userdata_client import v1

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from google.protobuf.message import Message
    from typing_extensions import Self


@dataclass(frozen=True)
class Fail:
    """An answer that is an error."""

    code: grpc.StatusCode
    trailers: tuple[tuple[str, str | bytes], ...] = ()


@dataclass
class Received:
    """What a call brought."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]
    at: float = field(default_factory=time.monotonic)


class ScriptedServer(grpc.GenericRpcHandler):
    """Answers: a message, or a failure. The last one repeats."""

    def __init__(self, *script: Message | Fail) -> None:
        self.received: list[Received] = []
        self._script = list(script)
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), handlers=[self])
        self.addr = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler[Any, Any]:
        method = handler_call_details.method.rpartition("/")[2]
        kind = getattr(v1, f"{method}Request")

        def answer(request: Any, context: Any) -> bytes:
            with self._lock:
                self.received.append(Received(method, request, dict(context.invocation_metadata())))
                step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
            if isinstance(step, Fail):
                context.set_trailing_metadata(step.trailers)
                context.abort(step.code, "as scripted")
            assert not isinstance(step, Fail), "abort raises"
            return step.SerializeToString()

        def stream(request: Any, context: Any) -> Iterator[bytes]:
            yield answer(request, context)

        if method == "WarmCache":
            return grpc.unary_stream_rpc_method_handler(stream, request_deserializer=kind.FromString)
        return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=kind.FromString)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop(grace=None).wait()
