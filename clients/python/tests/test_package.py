"""The package as a whole: its README, the examples, its version, and the server for callers' tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import PATIENCE

import userdata_client
from userdata_client.testing import Server, ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = Path(__file__).parents[1]
# In a clone of the repository; a source distribution has none of it.
ROOT = PACKAGE.parents[1]
EXAMPLES = ROOT / "examples" / "python"


def run(program: list[str], environment: Mapping[str, str], directory: Path) -> str:
    """What a program prints that is started anew, not beside the sources."""
    command = [sys.executable, "-W", "error", *program]
    variables = {**os.environ, **environment}
    ended = subprocess.run(
        command, check=False, env=variables, cwd=directory, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def readme_programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_readmes_program_has_twelve_lines_and_runs(server: Server, tmp_path: Path) -> None:
    program = readme_programs()[0]
    assert len(program.splitlines()) == 12
    printed = run(["-c", program], {"USERDATA_ADDR": server.addr}, tmp_path).splitlines()
    assert len(printed) == 3
    assert printed[0].split(" ", 1)[1]
    assert printed[1:] == ["True", "USER_NOT_FOUND"]


def test_the_readmes_test_passes(tmp_path: Path) -> None:
    run(["-c", readme_programs()[1]], {}, tmp_path)


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are in a clone of the repository")
@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("get", r"[A-Z_]+, [\d.]+ s old, verified: True\nstrategy: OK, .*\ngap_analysis: OK, .*\nstrategy: \w.*"),
        ("read_your_writes", r"older than the write: False\nat another place: True\n"),
        ("errors", r"USER_NOT_FOUND; .*request \w+\nstrategy_id .+\nmax_age .+\nunavailable: UNAVAILABLE .*\n"),
        ("warm", r"1/4 \w+\n2/4 \w+\n3/4 \w+\n4/4 \w+\n\[('\w+', ){2}'\w+'\]\n"),
    ],
)
def test_each_example_prints_what_it_says(server: Server, tmp_path: Path, name: str, printed: str) -> None:
    text = run([str(EXAMPLES / f"{name}.py")], {"USERDATA_ADDR": server.addr}, tmp_path)
    assert re.match(printed, text), text


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are in a clone of the repository")
def test_each_example_is_tested() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == {"get", "read_your_writes", "errors", "warm"}


@pytest.mark.skipif(not (ROOT / "Cargo.toml").is_file(), reason="the server's version is in a clone of the repository")
def test_the_package_has_the_servers_version() -> None:
    found = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1] == userdata_client.__version__ == metadata.version("userdata-client")


def test_everything_public_is_there_and_described() -> None:
    for name in userdata_client.__all__:
        assert name == "__version__" or getattr(userdata_client, name).__doc__, name
    assert (Path(userdata_client.__file__).parent / "py.typed").is_file()


def test_without_a_program_the_error_says_how_to_install_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("USERDATA_BIN")
    with pytest.raises(ServerError, match=r"USERDATA_BIN is not set.*cargo install --path \. --locked"):
        Server()
    with pytest.raises(ServerError, match=r"/no/such is no program.*cargo install"):
        Server("/no/such")


def test_a_server_that_cannot_start_shows_its_log() -> None:
    with pytest.raises(ServerError, match=r"ended with \d+\n.*no\.such"):
        Server(settings={"no.such": "setting"})


def test_a_server_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    program = "from userdata_client.testing import Server; server = Server(); print(server.pid, server.directory)"
    pid, directory = run(["-c", program], {}, tmp_path).split()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
    assert not Path(directory).exists()


def test_a_server_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from userdata_client.testing import Server; server = Server();"
        " print(server.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        pid = int(started.stdout.readline())
        started.kill()
    end = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_a_stopped_server_leaves_nothing() -> None:
    with Server() as server, server.client() as client:
        assert client.get("1").data.user_id == "1"
        assert "ready" in server.log()
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
    assert not server.directory.exists()
    server.stop()
