"""Every byte of a whole round on the wire and on both disks, searched for what no one may see.

Leader and helper are processes whose addresses are relays that keep what passes: from devices,
between the halves, from the operator. The round is a real training: charged, signed, collected,
released and adopted.
"""

import base64
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Aggregators
from tactful.protocol.dap import hpke
from tactful.protocol.documents.task import Task
from tactful.protocol.transport import HttpTransport, Request
from tactful.testing import FIXED_KEY, LOCAL, NewDeviceSettings, small_catalog
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator.serve import operator_socket
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.testing import create_pair, free_ports

CATALOG, MODEL, DEVICES = (
    small_catalog(3000),
    "captured",
    4,
)  # 144 kB a report: kept in segments
SHARING = LOCAL.grant("share_dp_updates")


@dataclass
class Relay:
    """Listens where a half is said to be, passes everything to where it is, and keeps it."""

    port: int
    behind: int
    seen: bytearray = field(default_factory=bytearray)

    def start(self) -> None:
        self._open = [socket.create_server(("127.0.0.1", self.port))]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._open[0].accept()[0]
                self._open.append(near)
                with suppress(ConnectionRefusedError):
                    far = socket.create_connection(("127.0.0.1", self.behind))
                    self._open.append(far)
                    self._carry(near, far)
                    continue
                near.shutdown(socket.SHUT_RDWR)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        for one, other in ((near, far), (far, near)):
            self._threads.append(threading.Thread(target=self._pass, args=(one, other)))
            self._threads[-1].start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        kept = (
            bytearray()
        )  # of one direction, so that no message is torn by the other's
        with suppress(OSError):
            while part := one.recv(1 << 16):
                kept += part
                other.sendall(part)
            other.shutdown(socket.SHUT_WR)
        self.seen += kept


@dataclass
class Watched:
    """A running pair, and all that its wire and its disks held."""

    leader: Aggregator
    helper: Aggregator
    relays: list[Relay]

    def operate(self, path: str, body: object = None) -> dict[str, object]:
        content = b"" if body is None else json.dumps(body).encode()
        answer = operator_socket.request(self.leader, "POST", path, content)
        assert answer.ok, answer.body
        found: dict[str, object] = json.loads(answer.body)
        return found

    def wire(self) -> bytes:
        """All that passed, once the pair is stopped."""
        return b"".join(bytes(relay.seen) for relay in self.relays)

    def disks(self) -> bytes:
        """Databases, what is written ahead of them, and segments; not the halves' own keys."""
        folders = (self.leader.folder, self.helper.folder)
        paths = [
            path
            for folder in folders
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        return b"".join(
            path.read_bytes() for path in paths if path.suffix not in (".json", ".toml")
        )


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    leader, helper = create_pair(folder, min_batch_floor=DEVICES)
    processes, relays = [], []
    for half, behind in zip((leader, helper), free_ports(2), strict=True):
        command = [sys.executable, "-m", "tactful_aggregator.cli", "serve", "--dir"]
        processes.append(
            subprocess.Popen([*command, str(half.folder), "--port", str(behind)])
        )
        relays.append(Relay(int(half.settings.url.rpartition(":")[2]), behind))
        relays[-1].start()
    try:
        for half in (helper, leader):
            _wait_for(half)
        yield Watched(leader, helper, relays)
    finally:
        for process in processes:
            process.terminate()
            process.wait()
        for relay in relays:
            relay.stop()


def _wait_for(half: Aggregator) -> None:
    for _ in range(600):
        with suppress(Exception):
            if HttpTransport().send(Request("GET", f"{half.settings.url}/healthz")).ok:
                return
        time.sleep(0.05)
    raise AssertionError("a half did not start")


@dataclass
class Secrets:
    """What devices of this process had in their hands before it was sealed or summed."""

    rows: list[np.ndarray] = field(default_factory=list)
    shares: list[bytes] = field(default_factory=list)
    sealed: list[bytes] = field(default_factory=list)

    def watch(self, monkeypatch: pytest.MonkeyPatch, *, unsealed: bool = False) -> None:
        measured, seal = Task.measurement, hpke.seal

        def measurement(task: Task, levels: np.ndarray) -> np.ndarray:
            self.rows.append(measured(task, levels))
            return self.rows[-1]

        def sealing(
            public: bytes, info: bytes, aad: bytes, plain: bytes
        ) -> tuple[bytes, bytes]:
            enc, payload = seal(public, info, aad, plain)
            self.shares.append(plain)
            self.sealed.append(payload)
            return enc, plain + bytes(hpke.TAG_BYTES) if unsealed else payload

        monkeypatch.setattr(Task, "measurement", measurement)
        monkeypatch.setattr(hpke, "seal", sealing)

    def needles(self) -> dict[str, bytes]:
        """Each secret in each form that it could have, and parts of it."""
        found = {f"item {n}": f"item-{n}".encode() for n in range(DEVICES)}
        exact = sum(self.rows)
        for number, row in enumerate([*self.rows, exact]):
            forms = {
                "bytes": row.astype(np.uint8).tobytes(),
                "32 bit": row.astype("<u4").tobytes(),
                "64 bit": row.astype("<i8").tobytes(),
                "64 bit, big": row.astype(">i8").tobytes(),
                "field": FIELD64.encode(FIELD64.from_integers(row)),
                "json": json.dumps(row.tolist()).encode(),
                "text": ",".join(map(str, row.tolist())).encode(),
                "hex": row.astype(np.uint8).tobytes().hex().encode(),
            }
            for name, content in forms.items():
                found |= _parts(f"row {number}, {name}", content)
        for number, share in enumerate(self.shares):
            found |= _parts(f"share {number}", share)
            found |= _parts(f"share {number}, hex", share.hex().encode())
        return found


def _parts(name: str, content: bytes) -> dict[str, bytes]:
    """Some 96 bytes from three places, as they are and in base64 at each of its three starts."""
    found = {}
    for at in {0, len(content) // 2, max(len(content) - 96, 0)}:
        part = content[at : at + 96]
        found[f"{name}, from {at}"] = part
        for shift in range(3):
            coded = base64.b64encode(b"\0" * shift + part)
            found[f"{name}, from {at}, base64 {shift}"] = coded[4:-4]
    return found


def contributing(pair: Watched, number: int) -> Personalizer:
    leader_key, helper_key = (
        base64.b64encode(key).decode() for key in pair.leader.public_keys()
    )
    settings = NewDeviceSettings(
        path=None,
        aggregators=Aggregators(
            model=MODEL,
            leader=pair.leader.settings.url,
            helper=pair.helper.settings.url,
            leader_key=leader_key,
            helper_key=helper_key,
        ),
        lifetime_epsilon=10.0,
        min_batch_size=DEVICES,
    )
    device = Personalizer(CATALOG, settings, key=FIXED_KEY, consent=SHARING)
    for step in range(5):
        device.observe(Event(kind="like", item_id=f"item-{number + 7 * step}"))
    return device


TRAINING = {
    "model": MODEL,
    "catalog": CATALOG.sha256,
    "items": len(CATALOG),
    "users": DEVICES,
    "epsilon": 1.0,
    "delta": 1e-6,
    "min_batch_size": DEVICES,
}


def test_a_whole_round_shows_nothing_on_the_wire_or_on_either_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Secrets()
    held.watch(monkeypatch)
    with watched(tmp_path) as pair:
        pair.operate("/operator/trainings", TRAINING)
        assert pair.operate(f"/operator/trainings/{MODEL}/refresh")["state"] == "open"
        devices = [contributing(pair, number) for number in range(DEVICES)]
        for device in devices:
            device.sharing.contribute()
        disks = pair.disks()
        assert (
            pair.operate(f"/operator/trainings/{MODEL}/refresh")["state"] == "released"
        )
        assert {device.sharing.refresh().batch_size for device in devices} == {DEVICES}
        disks += pair.disks()
        for device in devices:
            device.close()
    wire = pair.wire()

    assert len(held.rows) == DEVICES
    assert len(held.shares) == 2 * DEVICES
    for (
        sealed
    ) in held.sealed:  # the capture is whole: what was sent is in it, and kept at first
        assert sealed[-64:] in wire
        assert sealed[-64:] in disks
    needles = held.needles()
    assert [name for name, needle in needles.items() if needle in wire] == []
    assert [name for name, needle in needles.items() if needle in disks] == []


def test_the_search_finds_a_share_that_is_not_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removal test: with sealing taken out, wire and disk show the shares."""
    held = Secrets()
    held.watch(monkeypatch, unsealed=True)
    with watched(tmp_path) as pair:
        pair.operate("/operator/trainings", TRAINING)
        pair.operate(f"/operator/trainings/{MODEL}/refresh")
        with contributing(pair, 0) as device:
            device.sharing.contribute()
        disks = pair.disks()
    wire = pair.wire()

    shown = [
        name
        for name, needle in held.needles().items()
        if needle in wire and needle in disks
    ]

    assert {name.partition(",")[0] for name in shown} == {"share 0", "share 1"}
