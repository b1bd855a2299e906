"""A server for the tests of programs that use this package.

    from userdata_client.testing import Server

    with Server() as server, server.client() as client:
        assert client.get("1").cache.status == "ASSEMBLED"

It is the real one: ``userdata serve --demo`` with the demo's users 1 to 30, on free ports, in a directory of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import weakref
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .aio import AsyncUserData
from .client import UserData

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from _typeshed import StrPath
    from typing_extensions import Self, Unpack

    from .connection import ClientOptions

__all__ = ["Server", "ServerError"]

# Between two looks at the server while it starts.
_POLL = 0.05
# The server ends open calls within its own limit, and then by itself.
_STOP_TIMEOUT = 30.0
_LOG_LINES_SHOWN = 20
# On a machine that does much else, the database is given up after the default's 200 ms, and the start with it.
_PATIENT = {"database.timeout": "10s"}
# A shell stands between this process and the server, and waits for the end of its input: a pipe that ends with this
# process, even if it is killed. Its exit code is the server's.
_KEEPER = """
exec 3<&0
banner=$1 log=$2; shift 2
"$@" </dev/null >"$banner" 2>"$log" 3<&- & pid=$!
echo "$pid"
{ cat >/dev/null; kill "$pid"; } <&3 2>/dev/null & reader=$!
wait "$pid"; code=$?
kill "$reader" 2>/dev/null
exit "$code"
"""


class ServerError(Exception):
    """The server could not be started."""


class Server:
    """A server that runs until it is stopped, at the latest until this process ends, however it ends.

    Args:
        binary: The program. None: ``USERDATA_BIN``, else ``userdata`` in the PATH.
        settings: Settings by their names in ``userdata config show``, such as ``{"memory.ttl": "1s"}``.
        timeout: Seconds that the start may take.

    Raises:
        ServerError: there is no program, or the server did not become ready.
    """

    addr: str
    """Its address, such as http://127.0.0.1:40123."""
    probes: str
    """The address of its probes and metrics."""
    pid: int
    """Its process id."""

    def __init__(
        self, binary: StrPath | None = None, *, settings: Mapping[str, str] | None = None, timeout: float = 120.0
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="userdata-server-"))
        """Its working directory, with its data and its log, removed when it is stopped."""
        try:
            keeper = _start(_program(binary), self.directory, settings or {})
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        # Also when the interpreter ends, and when the server goes without having been stopped.
        self._stop = weakref.finalize(self, _end, keeper, self.directory)
        try:
            self.pid = int(_output(keeper).readline())
            self.addr, self.probes = self._wait_until_ready(keeper, time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise

    def client(self, **options: Unpack[ClientOptions]) -> UserData:
        """Return a new client of this server, with the arguments of `UserData`."""
        return UserData(self.addr, **options)

    def async_client(self, **options: Unpack[ClientOptions]) -> AsyncUserData:
        """Return a new client of this server, with the arguments of `AsyncUserData`."""
        return AsyncUserData(self.addr, **options)

    def log(self) -> str:
        """Return what the server has logged so far."""
        return _text(self.directory / "log")

    def stop(self) -> None:
        """Stop the server and remove its directory. It may be called again."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Server {getattr(self, 'addr', 'starting')}>"

    def _wait_until_ready(self, keeper: subprocess.Popen[bytes], deadline: float) -> tuple[str, str]:
        while time.monotonic() < deadline:
            if keeper.poll() is not None:
                raise ServerError(f"the server ended with {keeper.returncode}\n{self._end_of_log()}")
            addresses = _addresses(_text(self.directory / "banner"))
            if addresses is not None and _is_ready(addresses[1]):
                return addresses
            time.sleep(_POLL)
        raise ServerError(f"the server did not become ready in time\n{self._end_of_log()}")

    def _end_of_log(self) -> str:
        return "\n".join(self.log().splitlines()[-_LOG_LINES_SHOWN:])


def _program(binary: StrPath | None) -> str:
    named = os.fspath(binary) if binary is not None else os.environ.get("USERDATA_BIN")
    found = shutil.which(named or "userdata")
    if found is None:
        what = f"{named} is no program" if named else "USERDATA_BIN is not set, and userdata is not in the PATH"
        raise ServerError(f"{what}; in a clone of userdata, run: cargo install --path . --locked")
    # It is started in another directory.
    return str(Path(found).absolute())


def _start(program: str, directory: Path, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # The server chooses free ports, so that no other process can take them before it, and prints them.
    server = [program, "serve", "--demo", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    server += [f"--set={name}={value}" for name, value in {**_PATIENT, **settings}.items()]
    return subprocess.Popen(  # noqa: S603 The program is the caller's choice.
        ["/bin/sh", "-c", _KEEPER, "keeper", "banner", "log", *server],
        cwd=directory,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # An interrupt from the terminal is for this process, which then ends the server.
        start_new_session=True,
    )


def _output(keeper: subprocess.Popen[bytes]) -> IO[bytes]:
    assert keeper.stdout is not None  # noqa: S101 It was asked for.
    return keeper.stdout


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _environment() -> dict[str, str]:
    """Without settings that are meant for other servers."""
    foreign = ("USERDATA__", "OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def _addresses(banner: str) -> tuple[str, str] | None:
    """The server's address and the probes', once both lines are whole."""
    listening = re.search(r"listening on (https?://\S+)\n", banner)
    probes = re.search(r"^probes\s+(http://\S+)/healthz", banner, re.MULTILINE)
    return (listening[1], probes[1]) if listening and probes else None


def _is_ready(probes: str) -> bool:
    # Without the proxy that the environment may name.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{probes}/readyz", timeout=5.0):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _end(keeper: subprocess.Popen[bytes], directory: Path) -> None:
    # Its input ends, so it ends the server.
    with keeper:
        if keeper.stdin is not None:
            keeper.stdin.close()
        try:
            keeper.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            # With it goes all that it has started: it has a session of its own.
            os.killpg(keeper.pid, signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)
