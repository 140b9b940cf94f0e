"""At a command line, what is wrong is one sentence that names it, and exit status 2."""

import http.server
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tactful.cli import INTERRUPTED, PIPE_CLOSED
from tactful.device.consent import Consent
from tactful.device.device_key import KeyFile
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.testing import small_catalog
from tactful_aggregator.testing import create_pair


def run(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = line.split()
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A vault with its key, files that are none, and a pair that does not run."""
    settings = Settings(path=str(tmp_path / "taste.db"))
    key = KeyFile(tmp_path / "right.key")
    Personalizer(small_catalog(), settings, key=key, consent=Consent()).close()
    for name, content in (
        ("wrong.key", secrets.token_bytes(32)),
        ("short.key", b"short"),
    ):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "letter.txt").write_text("not a database\n" * 100)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "empty.db").touch()
    (tmp_path / "stub.db").write_bytes(b"\xe9")
    (tmp_path / "latin.toml").write_bytes(b'path = "\xe9"')
    (tmp_path / "app.toml").write_text('path = "taste.db"')
    events = '{"at": 0, "kind": "offer", "item": "a"}\n'
    (tmp_path / "log.jsonl").write_text(events * 20_000)
    (tmp_path / "rules.json").write_text('{"schema": 1}')
    create_pair(tmp_path, min_batch_floor=4)
    return tmp_path


WRONG = {
    "tactful ledger none.db --key-file right.key": "vault: none.db is not a file",
    "tactful ledger taste.db --key-file none.key": "--key-file: none.key is not a file",
    "tactful ledger taste.db --key-file wrong.key": "not the one that sealed this vault",
    "tactful export taste.db --key-file short.key": "not 32 bytes long",
    "tactful erase letter.txt --key-file right.key": "not a vault",
    "tactful ledger empty.db --key-file right.key": "vault: empty.db is empty",
    "tactful export taste.db --key-file empty.db": "--key-file: empty.db is empty",
    "tactful person empty.db --key-file right.key": "vault: empty.db is empty",
    "tactful ledger stub.db --key-file right.key": "not a vault",
    "tactful person stub.db --key-file right.key --write p.html": "not a vault",
    "tactful person taste.db --key-file right.key --port 99999": "--port: 99999 is out of range",
    "tactful person taste.db --key-file right.key --settings latin.toml": "settings: latin.toml",
    "tactful person taste.db --key-file right.key --catalog stub.db": "catalog: document",
    "tactful person taste.db --key-file right.key --write leader": "leader: Is a directory",
    "tactful disclosures --settings latin.toml out": "settings: latin.toml",
    "tactful disclosures --settings app.toml --signals stub.db out": "stub.db is not text",
    "tactful disclosures --settings app.toml letter.txt": "letter.txt: File exists",
    "tactful disclosures --settings app.toml --check none": "it is outdated or missing",
    "tactful caps lint leader": "rules: leader cannot be read",
    "tactful caps lint stub.db": "rules: stub.db cannot be read",
    "tactful caps simulate rules.json --events stub.db": "stub.db",
    "tactful caps simulate rules.json --events leader": "leader",
    "tactful-lab demo --epsilon 0": "epsilon: 0.0 is not above 0",
    "tactful-lab demo --epsilon nan": "epsilon: nan is not above 0",
    "tactful-lab demo --devices 0": "--devices: 0 is out of range",
    "tactful-lab demo --out letter.txt": "letter.txt",
    "tactful-lab simulate nothing --epsilon 1": "nothing",
    "tactful-lab simulate msweb --epsilon -1": "epsilon: -1.0 is not above 0",
    "tactful-lab simulate ml-1m-diffrec --epsilon 1 --data .": "ml-1m-diffrec",
    "tactful-lab simulate msweb --epsilon 1 --data none": "none",
    "tactful-aggregator init --dir new --role boss --url https://x": "role: 'boss'",
    "tactful-aggregator init --dir new --role leader --url x": "url: 'x' is not a base address",
    "tactful-aggregator init --dir leader --role leader --url https://x": "already has an aggregator",
    "tactful-aggregator init --dir letter.txt/a --role leader --url https://x": "letter.txt",
    "tactful-aggregator pair --dir leader --card leader/card.json": "both aggregators have the role leader",
    "tactful-aggregator pair --dir leader --card broken.json": "broken.json: document",
    "tactful-aggregator serve --dir none": "none has no aggregator",
    "tactful-aggregator status --dir leader": "no process serves leader",
    "tactful-aggregator status --dir helper": "name the leader's folder",
    "tactful-aggregator pair --dir leader --card wrong.key": "card: wrong.key cannot be read",
    "tactful-aggregator serve --dir leader --port 70000": "--host, --port: 127.0.0.1:70000",
    "tactful-aggregator serve --dir leader --host nowhere.invalid": "--host, --port: nowhere",
    "tactful-aggregator refresh --dir leader a/../b?c": "model: 'a/../b?c' is not a valid name",
    "tactful-aggregator experiment --dir leader --read a/b": "--read: 'a/b' is not a valid name",
    "tactful-aggregator start --dir leader --training none": "training: none cannot be read",
}


@pytest.mark.parametrize(("line", "named"), WRONG.items(), ids=WRONG)
def test_what_is_wrong_is_one_sentence_and_exit_status_two(
    folder: Path, line: str, named: str
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    done = run(folder, line)

    assert done.returncode == 2
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_half_that_is_not_paired_does_not_serve(folder: Path) -> None:
    (folder / "leader" / "peer.json").unlink()

    done = run(folder, "tactful-aggregator serve --dir leader")

    assert (done.returncode, done.stderr.split(";")[0]) == (
        2,
        "tactful-aggregator: pairing: this aggregator is not paired yet",
    )


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(folder, f"tactful-aggregator serve --dir leader --port {port}")

    assert done.returncode == 2
    assert f"--host, --port: 127.0.0.1:{port}: " in done.stderr
    assert len(done.stderr.splitlines()) == 1


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Some other web site."""

    def do_GET(self) -> None:
        if "operator" in self.path:
            self.send_error(404)
        else:
            self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "command", ["status", "rotate-key", "transcript", "refresh films"]
)
def test_an_address_of_another_program_is_named(
    folder: Path, elsewhere: str, command: str
) -> None:
    settings = folder / "leader" / "aggregator.toml"
    lines = settings.read_text().splitlines()
    settings.write_text(
        "\n".join(
            f'url = "{elsewhere}"' if one.startswith("url") else one for one in lines
        )
    )

    port = int(elsewhere.rpartition(":")[2])
    (folder / "leader" / "operator.json").write_text(json.dumps({"port": port}))

    done = run(folder, f"tactful-aggregator {command} --dir leader")

    assert done.returncode == 2
    assert (
        "check that a Tactful leader serves" in done.stderr
        or "no signed checkpoint" in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        "tactful export taste.db --key-file right.key",
        "tactful ledger taste.db --key-file right.key",
        "tactful caps lint rules.json",
        "tactful --help",
    ],
)
def test_a_reader_that_leaves_early_hears_no_complaint(folder: Path, line: str) -> None:
    program, *arguments = line.split()
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    talking = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    talking.stdout.close()

    assert talking.stderr.read() == ""
    talking.stderr.close()
    assert talking.wait(60) in (0, PIPE_CLOSED)


def test_whoever_stops_a_command_sees_no_traceback(folder: Path) -> None:
    """The events come through a pipe that says nothing, so the command waits when it is stopped."""
    os.mkfifo(folder / "silent")
    program = str(Path(sys.executable).with_name("tactful"))
    command = [program, "caps", "simulate", "rules.json", "--events", "silent"]
    waiting = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    pipe = _opened_by_its_reader(folder / "silent")
    waiting.send_signal(signal.SIGINT)
    _, told = waiting.communicate(timeout=60)
    os.close(pipe)

    assert (waiting.returncode, told) == (INTERRUPTED, "tactful: interrupted\n")


def _opened_by_its_reader(pipe: Path) -> int:
    """The pipe's other end, once somebody reads there."""
    for _ in range(600):
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("nobody reads")
