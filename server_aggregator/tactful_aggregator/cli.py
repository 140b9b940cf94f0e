"""`tactful-aggregator`: make, pair and run one half, and lead a training."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from tactful.errors import InvalidInput, TactfulError
from tactful_aggregator import settings

if TYPE_CHECKING:
    import socket

    from tactful.protocol.transport import Method, Response

app = typer.Typer(
    help="One half of the pair that sums contributions without seeing any of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
training_app = typer.Typer(help="Work on a training as a whole.", no_args_is_help=True)
app.add_typer(training_app, name="training")
jobs_app = typer.Typer(
    help="Reports that the helper did not take.", no_args_is_help=True
)
app.add_typer(jobs_app, name="jobs")
Folder = Annotated[Path, typer.Option("--dir", help="the half's folder")]


@app.command()
def init(
    folder: Folder,
    role: Annotated[str, typer.Option(help="leader or helper")],
    url: Annotated[str, typer.Option(help="this half's public base address")],
    min_batch_floor: Annotated[
        int, typer.Option(help="the smallest batch this half ever releases")
    ] = 1000,
) -> None:
    """Make a half: its settings, keys, and the card to hand to the other operator."""
    if role not in ("leader", "helper"):
        raise InvalidInput("role", f"{role!r} is not known", "use leader or helper")
    chosen = settings.AggregatorSettings(
        role="leader" if role == "leader" else "helper",
        url=url,
        min_batch_floor=min_batch_floor,
    )
    half = settings.create(folder, chosen)
    print(f"{role} made in {folder}\nsigning key {half.card.signing_key}")
    print(f"hand {folder / settings.CARD_FILE} to the other operator, as a secret")


@app.command()
def pair(
    folder: Folder,
    card: Annotated[Path, typer.Option(help="card.json of the other half")],
) -> None:
    """Tell this half who the other one is."""
    half = settings.pair(folder, card)
    print(f"paired with the {half.paired.role} at {half.paired.url}")


@app.command()
def preflight(folder: Folder) -> None:
    """Check that this half could run: files and who may read them, keys, pairing, database."""
    half = settings.load(folder)
    settings.require_private(folder)
    peer = half.paired
    from tactful_aggregator.datastore import Datastore

    Datastore(half.database, half.settings.role).close()
    print(
        f"{half.settings.role} at {half.settings.url}, paired with {peer.role} at {peer.url}"
    )
    print(f"no batch below {half.settings.min_batch_floor} is released; ready to serve")


@app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="the port; else the one of --url")
    ] = None,
) -> None:
    """Run this half until it is told to stop. Put TLS in front of it."""
    import logging

    from tactful.protocol.transport import HttpTransport
    from tactful_aggregator.app import Service
    from tactful_aggregator.datastore import Datastore
    from tactful_aggregator.serve import operator_socket
    from tactful_aggregator.serve.server import run

    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    half = settings.load(folder)
    settings.require_private(folder)
    half.public_keys()  # raises InvalidInput before the halves are paired
    operator = operator_socket.listen(folder)
    store = Datastore(half.database, half.settings.role)
    with store.transaction() as tx:
        if store.is_local:
            tx.jobs.release_leases()  # their holder is the process that was here before
            tx.locks.release_all()
    service = Service(half, store, HttpTransport())
    chosen = port or urlsplit(half.settings.url).port or 8080
    run(service, _listening(host, chosen), operator)


def _listening(host: str, port: int) -> socket.socket:
    import socket

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as taken:
        fix = "name another, or end what listens there"
        raise InvalidInput("--host, --port", f"{host}:{port}: {taken}", fix) from taken


@app.command()
def task(
    folder: Folder,
    file: Annotated[Path, typer.Option(help="a JSON file, the same at both halves")],
) -> None:
    """Serve a task that both operators wrote themselves, for any DAP client and collector."""
    import time

    from tactful_aggregator.task_registry import OperatorTask, keep

    written = OperatorTask.parse(_document("file", file))
    dap_task = keep(settings.load(folder), written, int(time.time())).task
    print(f"{dap_task.dap.tag} task {dap_task.encoded_id}, {written.vdaf.kind}")
    if written.noise == "none":
        print("no noise: sums are exact, and promise no differential privacy")


@app.command("renew-tokens")
def renew_tokens(folder: Folder) -> None:
    """Replace this half's tokens, then restart it; a helper's new card goes to the leader."""
    half = settings.renew_tokens(folder)
    print(f"new tokens in {folder / settings.KEYS_FILE}; restart this half")
    if half.settings.role == "helper":
        print(
            f"hand {folder / settings.CARD_FILE} to the leader's operator, to pair again"
        )


@app.command("rotate-key")
def rotate_key(folder: Folder) -> None:
    """Let clients seal to a new key; the old one opens as long as a client may hold it."""
    _show(_ask(folder, "POST", "/operator/keys", leads=False))


@app.command("collect-garbage")
def collect_garbage(folder: Folder) -> None:
    """Forget ended keys, the ids of tasks long over, and bodies that nothing waits for."""
    _ask(folder, "POST", "/operator/garbage", leads=False)


@app.command()
def start(
    folder: Folder,
    training: Annotated[
        Path, typer.Option(help="a JSON file: model, catalog, items, users, ...")
    ],
    items: Annotated[
        Path | None,
        typer.Option(help="the app's catalog: its words help where people are few"),
    ] = None,
) -> None:
    """Begin a training at the running leader."""
    asked = _document("training", training)
    if items is not None:
        asked = described(asked, _document("items", items))
    _show(_ask(folder, "POST", "/operator/trainings", asked))


def described(training: bytes, items: bytes) -> bytes:
    """The training with what the catalog says of its items, if it is for this catalog."""
    from tactful.learning.item_features import catalog_words

    digest, told = catalog_words(items)
    try:
        asked = dict(json.loads(training))
    except (ValueError, TypeError) as wrong:
        raise InvalidInput(
            "training", f"it is no JSON object ({wrong})", "correct it"
        ) from wrong
    if asked.get("catalog") != digest:
        fix = f"give the items of the training's catalog, or say catalog {digest}"
        raise InvalidInput(
            "items", "their ids are not those of the training's catalog", fix
        )
    return json.dumps({**asked, "words": told}).encode()


@app.command()
def refresh(folder: Folder, model: str) -> None:
    """Take the next step of a training: collect the open round, open the next, or release."""
    _require_name("model", model)
    # the request names the step, so that two timers at once, or a retry, take it once
    step = _step_of(_parsed(_ask(folder, "GET", "/operator/status")), model)
    body = b"" if step is None else json.dumps({"step": step}).encode()
    _show(_ask(folder, "POST", f"/operator/trainings/{model}/refresh", body))


@training_app.command()
def abandon(folder: Folder, model: str) -> None:
    """End a training that is not released; charges stay, and the model can be trained again."""
    _require_name("model", model)
    _show(_ask(folder, "POST", f"/operator/trainings/{model}/abandon"))


@app.command()
def experiment(
    folder: Folder,
    opening: Annotated[
        Path | None,
        typer.Option("--open", help="a JSON file: experiment, epsilon, delta, ..."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--read", help="the id of an experiment")
    ] = None,
) -> None:
    """Open a period of an experiment, or collect the open one and read them all."""
    if (opening is None) == (name is None):
        raise InvalidInput(
            "--open, --read", "one of them is needed", "open a period, or read"
        )
    if opening is not None:
        _show(_ask(folder, "POST", "/operator/experiments", _document("open", opening)))
    elif name is not None:
        _require_name("--read", name)
        _show(_ask(folder, "POST", f"/operator/experiments/{name}"))


@app.command()
def status(folder: Folder) -> None:
    """Where each training of the running leader stands."""
    _show(_ask(folder, "GET", "/operator/status"))


@jobs_app.command("list")
def list_jobs(folder: Folder) -> None:
    """List the jobs that are parked, or that the leader tries again later."""
    _show(_ask(folder, "GET", "/operator/jobs"))


@jobs_app.command("resume")
def resume_jobs(folder: Folder) -> None:
    """Try all of these jobs again now, once what made them fail is repaired."""
    _show(_ask(folder, "POST", "/operator/jobs/resume"))


@app.command()
def transcript(folder: Folder) -> None:
    """Print and check everything the running leader has published."""
    from tactful.errors import ProtocolError
    from tactful.protocol.log.transcript import SignedCheckpoint, checkpoint, parse

    lines = _fetch(folder, "/transcript").decode().splitlines()
    signed = SignedCheckpoint.decode(_fetch(folder, "/transcript/checkpoint"))
    signed.verify(settings.load(folder).keys.signer.public_key().public_bytes_raw())
    if checkpoint([parse(line) for line in lines]) != signed.checkpoint:
        raise ProtocolError("transcript: it is not the log whose head is signed")
    print("\n".join(lines))
    print(
        f"{len(lines)} entries under the signed head {signed.checkpoint.root}",
        file=sys.stderr,
    )


def main() -> None:
    """Run the command line; whatever is refused is one sentence and exit status 2."""
    # the matrices of proofs are small: more threads of the linear algebra only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app()
    except (TactfulError, OSError) as refused:
        print(f"tactful-aggregator: {refused}", file=sys.stderr)
        sys.exit(2)


def _require_name(option: str, name: str) -> None:
    if not re.fullmatch("[a-z0-9-]{1,64}", name):
        raise InvalidInput(option, f"{name!r} is no name", "use a-z, 0-9 and -")


def _document(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as absent:
        raise InvalidInput(option, f"{path} cannot be read", "name a file") from absent


def _ask(
    folder: Path, method: Method, path: str, body: bytes = b"", *, leads: bool = True
) -> bytes:
    """What the running half answers its operator."""
    from tactful_aggregator.serve import operator_socket

    answer = operator_socket.ask(_half(folder, leads), method, path, body)
    if not answer.ok:
        raise TactfulError(_reason(answer))
    return answer.body


def _fetch(folder: Path, path: str) -> bytes:
    """What the leader tells everybody, at its public address."""
    from tactful.protocol.transport import HttpTransport, Request

    url = _half(folder, leads=True).settings.url
    answer = HttpTransport().send(Request("GET", url + path))
    if not answer.ok:
        raise TactfulError(_reason(answer))
    return answer.body


def _half(folder: Path, leads: bool) -> settings.Aggregator:
    half = settings.load(folder)
    if leads and half.settings.role != "leader":
        raise InvalidInput(
            "dir", f"{folder} is a helper", "trainings are led by the leader"
        )
    return half


def _reason(answer: Response) -> str:
    try:
        return str(json.loads(answer.body)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"url: status {answer.status} and no reason; is a Tactful leader there?"


def _show(body: bytes) -> None:
    print(json.dumps(_parsed(body), indent=1))


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError as other:
        raise TactfulError(
            "url: the answer is no JSON; is a Tactful leader there?"
        ) from other


def _step_of(status: object, model: str) -> int | None:
    """The step that a model's training is at; None if the status names no such training."""
    for training in status if isinstance(status, list) else []:
        if isinstance(training, dict) and training.get("model") == model:
            return int(training["step"])
    return None


if __name__ == "__main__":
    main()
