"""`tactful-aggregator`: create, pair and run one aggregator, and lead trainings."""

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
    help="Run one of the two aggregators that sum reports without reading any of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
training_app = typer.Typer(help="Manage a whole training.", no_args_is_help=True)
app.add_typer(training_app, name="training")
jobs_app = typer.Typer(
    help="Manage reports that the helper did not accept.", no_args_is_help=True
)
app.add_typer(jobs_app, name="jobs")
Folder = Annotated[Path, typer.Option("--dir", help="folder of the aggregator")]


@app.command()
def init(
    folder: Folder,
    role: Annotated[str, typer.Option(help="leader or helper")],
    url: Annotated[str, typer.Option(help="public base address of this aggregator")],
    min_batch_floor: Annotated[
        int, typer.Option(help="smallest batch that this aggregator ever releases")
    ] = 1000,
) -> None:
    """Create an aggregator: settings, keys, and card.json for the other operator."""
    if role not in ("leader", "helper"):
        raise InvalidInput("role", f"{role!r} is not a role", "use leader or helper")
    aggregator_settings = settings.AggregatorSettings(
        role="leader" if role == "leader" else "helper",
        url=url,
        min_batch_floor=min_batch_floor,
    )
    aggregator = settings.create(folder, aggregator_settings)
    print(f"created a {role} in {folder}")
    print(f"signing key {aggregator.pairing_document.signing_key}")
    path = folder / settings.PAIRING_FILE
    print(f"next: send {path} to the other operator over a secret channel")


@app.command()
def pair(
    folder: Folder,
    pairing_file: Annotated[
        Path, typer.Option("--card", help="card.json of the other aggregator")
    ],
) -> None:
    """Pair this aggregator with the other one."""
    other = settings.pair(folder, pairing_file).other_aggregator
    print(f"paired with the {other.role} at {other.url}")


@app.command()
def preflight(folder: Folder) -> None:
    """Check files, file permissions, keys, pairing and database before serving."""
    aggregator = settings.load(folder)
    settings.require_private(folder)
    other = aggregator.other_aggregator
    from tactful_aggregator.datastore import Datastore

    options = aggregator.settings
    Datastore(aggregator.database, options.role).close()
    print(f"{options.role} at {options.url}, paired with {other.role} at {other.url}")
    print(
        f"no batch below {options.min_batch_floor} reports is released; ready to serve"
    )


@app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(help="port to listen on; by default the port of the base address"),
    ] = None,
) -> None:
    """Run this aggregator until the process is stopped; put a TLS proxy in front of it."""
    import logging

    from tactful.protocol.transport import HttpTransport
    from tactful_aggregator.app import Service
    from tactful_aggregator.datastore import Datastore
    from tactful_aggregator.serve import operator_socket
    from tactful_aggregator.serve.server import run

    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    aggregator = settings.load(folder)
    settings.require_private(folder)
    # Raises InvalidInput if the aggregator is not paired.
    aggregator.public_keys()
    operator = operator_socket.listen(folder)
    store = Datastore(aggregator.database, aggregator.settings.role)
    if store.is_local:
        # Only the former process on this machine can have held these leases.
        with store.transaction() as tx:
            tx.jobs.release_leases()
            tx.locks.release_all()
    service = Service(aggregator, store, HttpTransport())
    public_port = port or urlsplit(aggregator.settings.url).port or 8080
    run(service, _listening(host, public_port), operator)


def _listening(host: str, port: int) -> socket.socket:
    import socket

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        fix = "use another address or port, or stop the process that listens there"
        raise InvalidInput("--host, --port", f"{host}:{port}: {error}", fix) from error


@app.command()
def task(
    folder: Folder,
    file: Annotated[
        Path, typer.Option(help="JSON file of the task, equal at both aggregators")
    ],
) -> None:
    """Serve a task that both operators wrote, for any DAP client and collector."""
    import time

    from tactful_aggregator.task_registry import OperatorTask, serve_operator_task

    operator_task = OperatorTask.parse(_read_file("file", file))
    aggregator = settings.load(folder)
    now = int(time.time())
    dap_task = serve_operator_task(aggregator, operator_task, now).task
    kind = operator_task.vdaf.kind
    print(f"{dap_task.dap.tag} task {dap_task.encoded_id}, {kind}")
    if operator_task.noise == "none":
        print("no noise: sums are exact and have no differential privacy")


@app.command("renew-tokens")
def renew_tokens(folder: Folder) -> None:
    """Replace the tokens; restart afterwards, and send a helper's new card.json."""
    aggregator = settings.renew_tokens(folder)
    print(f"new tokens in {folder / settings.KEYS_FILE}; restart this aggregator")
    if aggregator.settings.role == "helper":
        path = folder / settings.PAIRING_FILE
        print(f"next: send {path} to the leader's operator, who must pair again")


@app.command("rotate-key")
def rotate_key(folder: Folder) -> None:
    """Publish a new HPKE key; the old one opens shares while clients may cache it."""
    _print_json(_request(folder, "POST", "/operator/keys", leader_only=False))


@app.command("collect-garbage")
def collect_garbage(folder: Folder) -> None:
    """Delete expired keys, report ids of long expired tasks and unused report files."""
    _request(folder, "POST", "/operator/garbage", leader_only=False)


@app.command()
def start(
    folder: Folder,
    training: Annotated[
        Path, typer.Option(help="JSON file: model, catalog, items, users, ...")
    ],
    items: Annotated[
        Path | None,
        typer.Option(help="catalog of the app; its words improve small trainings"),
    ] = None,
) -> None:
    """Start a training at the running leader."""
    document = _read_file("training", training)
    if items is not None:
        document = with_item_words(document, _read_file("items", items))
    _print_json(_request(folder, "POST", "/operator/trainings", document))


def with_item_words(training: bytes, items: bytes) -> bytes:
    """Return the training document with the words of its catalog's items.

    Raises InvalidInput if `items` is not the catalog of the training.
    """
    from tactful.learning.item_features import catalog_words

    digest, words = catalog_words(items)
    try:
        document = dict(json.loads(training))
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            "training", f"not a JSON object ({error})", "correct the file"
        ) from error
    if document.get("catalog") != digest:
        raise InvalidInput(
            "items",
            "their ids differ from those of the training's catalog",
            f"name the catalog of the training, or set its catalog to {digest}",
        )
    return json.dumps({**document, "words": words}).encode()


@app.command()
def refresh(folder: Folder, model: str) -> None:
    """Take the next step of a training: open or collect a round, or release the model."""
    _require_name("model", model)
    # The request names the step, so that two timers or a retry take it only once.
    status_document = _parse_json(_request(folder, "GET", "/operator/status"))
    step = _step_of(status_document, model)
    body = b"" if step is None else json.dumps({"step": step}).encode()
    path = f"/operator/trainings/{model}/refresh"
    _print_json(_request(folder, "POST", path, body))


@training_app.command()
def abandon(folder: Folder, model: str) -> None:
    """End a training without a release; devices keep their charges."""
    _require_name("model", model)
    _print_json(_request(folder, "POST", f"/operator/trainings/{model}/abandon"))


@app.command()
def experiment(
    folder: Folder,
    opening: Annotated[
        Path | None,
        typer.Option("--open", help="JSON file: experiment, epsilon, delta, ..."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--read", help="id of an experiment")
    ] = None,
) -> None:
    """Open a period of an experiment, or collect it and print the results so far."""
    if (opening is None) == (name is None):
        raise InvalidInput(
            "--open, --read", "exactly one of them is required", "give only one of them"
        )
    if opening is not None:
        document = _read_file("open", opening)
        _print_json(_request(folder, "POST", "/operator/experiments", document))
    elif name is not None:
        _require_name("--read", name)
        _print_json(_request(folder, "POST", f"/operator/experiments/{name}"))


@app.command()
def status(folder: Folder) -> None:
    """Print the state of each training of the running leader."""
    _print_json(_request(folder, "GET", "/operator/status"))


@jobs_app.command("list")
def list_jobs(folder: Folder) -> None:
    """List the jobs that are parked or that the leader will retry."""
    _print_json(_request(folder, "GET", "/operator/jobs"))


@jobs_app.command("resume")
def resume_jobs(folder: Folder) -> None:
    """Retry all of these jobs now, after you repaired what made them fail."""
    _print_json(_request(folder, "POST", "/operator/jobs/resume"))


@app.command()
def transcript(folder: Folder) -> None:
    """Print and verify the publication log of the running leader."""
    from tactful.errors import ProtocolError
    from tactful.protocol.log.transcript import SignedCheckpoint, checkpoint, parse

    lines = _fetch(folder, "/transcript").decode().splitlines()
    signed = SignedCheckpoint.decode(_fetch(folder, "/transcript/checkpoint"))
    signing_key = settings.load(folder).keys.signer.public_key()
    signed.verify(signing_key.public_bytes_raw())
    if checkpoint([parse(line) for line in lines]) != signed.checkpoint:
        raise ProtocolError(
            "transcript: it does not match the signed checkpoint; run the command again, "
            "and if it fails again restore the database from a backup"
        )
    print("\n".join(lines))
    root = signed.checkpoint.root
    print(f"{len(lines)} entries, signed checkpoint {root}", file=sys.stderr)


def main() -> None:
    """Run the command line; print an error as one sentence and exit with status 2."""
    # Proof matrices are small: more threads in the linear algebra only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app()
    except (TactfulError, OSError) as error:
        print(f"tactful-aggregator: {error}", file=sys.stderr)
        sys.exit(2)


def _require_name(option: str, name: str) -> None:
    if not re.fullmatch("[a-z0-9-]{1,64}", name):
        raise InvalidInput(
            option,
            f"{name!r} is not a valid name",
            "use 1 to 64 characters of a-z, 0-9 and -",
        )


def _read_file(option: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            option, f"{path} cannot be read", "name a readable file"
        ) from error


def _request(
    folder: Path,
    method: Method,
    path: str,
    body: bytes = b"",
    *,
    leader_only: bool = True,
) -> bytes:
    """Send a request to the operator's listener of the running aggregator."""
    from tactful_aggregator.serve import operator_socket

    aggregator = _load(folder, leader_only)
    response = operator_socket.request(aggregator, method, path, body)
    if not response.ok:
        raise TactfulError(_reason(response))
    return response.body


def _fetch(folder: Path, path: str) -> bytes:
    """Return a public document of the leader, from its public address."""
    from tactful.protocol.transport import HttpTransport, Request

    url = _load(folder, leader_only=True).settings.url
    response = HttpTransport().send(Request("GET", url + path))
    if not response.ok:
        raise TactfulError(_reason(response))
    return response.body


def _load(folder: Path, leader_only: bool) -> settings.Aggregator:
    aggregator = settings.load(folder)
    if leader_only and aggregator.settings.role != "leader":
        raise InvalidInput(
            "dir", f"{folder} is a helper", "name the leader's folder for this command"
        )
    return aggregator


def _reason(response: Response) -> str:
    try:
        return str(json.loads(response.body)["detail"])
    except (ValueError, KeyError, TypeError):
        return (
            f"url: status {response.status} without a reason; check that a Tactful leader "
            "serves this address"
        )


def _print_json(body: bytes) -> None:
    print(json.dumps(_parse_json(body), indent=1))


def _parse_json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError as error:
        raise TactfulError(
            "url: the response is not JSON; check that a Tactful leader serves this address"
        ) from error


def _step_of(status_document: object, model: str) -> int | None:
    """Return the step of a model's training, or None if the status does not name it."""
    trainings = status_document if isinstance(status_document, list) else []
    for training in trainings:
        if isinstance(training, dict) and training.get("model") == model:
            return int(training["step"])
    return None


if __name__ == "__main__":
    main()
