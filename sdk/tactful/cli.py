"""The command `tactful`: inspect, export and erase the vault of one device."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tactful.errors import InvalidInput, TactfulError

if TYPE_CHECKING:
    from tactful.device.state.device_state import DeviceState, Disclosure
    from tactful.device.vault import Vault
    from tactful.privacy.budget import Charge
    from tactful.protocol.dap.messages import Report

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
PIPE_CLOSED = 141  # 128 + SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; print an expected error as one line, and return 2."""
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        # Flush here, where the error of a closed pipe can still be handled.
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("tactful: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else error
        print(f"tactful: {message}", file=sys.stderr)
        return 2
    except TactfulError as error:
        print(f"tactful: {error}", file=sys.stderr)
        return 2
    return status


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["audit"]:
        from tactful.audit.cli import main as audit

        # The audit has exit statuses of its own, which state its verdict.
        return audit(arguments[1:])
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    from tactful.audit.cli import add_parser as add_audit
    from tactful.caps_tools.cli import add_parser as add_caps
    from tactful.person.cli import add_parser as add_person

    parser = argparse.ArgumentParser(prog="tactful", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_vault_command(commands, "ledger", _ledger, "print charges and sent reports")
    _add_vault_command(commands, "export", _export, "print the whole vault as JSON")
    erase = _add_vault_command(
        commands, "erase", _erase, "erase events and model; charges stay"
    )
    hides_help = "also erase the list of hidden items, so that they can be shown again"
    erase.add_argument("--hides", action="store_true", help=hides_help)
    _add_reset(commands)
    _add_disclosures(commands)
    add_audit(commands)
    add_caps(commands)
    add_person(commands)
    return parser


def _add_vault_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    help_text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_text, description=help_text)
    command.add_argument("vault", type=Path, help="file of the vault")
    command.add_argument(
        "--key-file", type=Path, required=True, help="file with the key of the vault"
    )
    command.set_defaults(run=run)
    return command


def _add_disclosures(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    help_text = "write the documents that app stores and the law require"
    command = commands.add_parser("disclosures", help=help_text, description=help_text)
    command.add_argument("folder", type=Path, help="folder to write the documents to")
    command.add_argument(
        "--settings", type=Path, required=True, help="settings of the app, a TOML file"
    )
    command.add_argument(
        "--signals",
        type=Path,
        help="event schema of the app, a JSON file (default: the built-in schema)",
    )
    command.add_argument(
        "--check",
        action="store_true",
        help="write nothing, and fail if a document is outdated",
    )
    command.set_defaults(run=_disclosures)


def _add_reset(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    help_text = "set aside a vault that cannot be opened; charges are carried over"
    command = commands.add_parser("reset", help=help_text, description=help_text)
    command.add_argument(
        "vault", type=Path, help="file of the vault; close the app first"
    )
    key_help = (
        "file with its key; without it, the app keeps the key and creates the new vault"
    )
    command.add_argument("--key-file", type=Path, help=key_help)
    command.add_argument(
        "--yes", action="store_true", help="do not ask for confirmation"
    )
    command.set_defaults(run=_reset)


def _open_vault(options: argparse.Namespace) -> tuple[Vault, DeviceState]:
    from tactful.device.device_key import KeyFile
    from tactful.device.state.device_state import DeviceState
    from tactful.device.state.projection import project
    from tactful.device.vault import Vault
    from tactful.person.cli import require_files

    require_files(options.vault, options.key_file)
    vault = Vault.open(options.vault, KeyFile(options.key_file))
    return vault, project(vault, DeviceState())


def _ledger(options: argparse.Namespace) -> int:
    vault, state = _open_vault(options)
    with vault:
        for charge in state.ledger.charges:
            _print_charge(vault, charge, state.disclosures.get(charge.task_id))
        charge_count = len(state.ledger.charges)
        total_rho = float(state.ledger.spent)
        print(f"{charge_count} charges, rho {total_rho:.6f} in total")
        _print_lifetime(state)
    return 0


def _print_charge(vault: Vault, charge: Charge, disclosure: Disclosure | None) -> None:
    size = "no report" if disclosure is None else f"{disclosure.size:,} bytes"
    noise = charge.event.get("placement", "unknown")
    rho = float(charge.rho)
    print(f"{charge.time}  rho {rho:.6f}  {size}  {charge.purpose}, {noise}")
    if disclosure is None:
        return
    state = "accepted" if disclosure.accepted else "not yet accepted"
    print(f"    report {disclosure.report_id} to {disclosure.recipient}, {state}")
    print(f"    {disclosure.meaning}")
    print(f"    {_decoded(vault, disclosure)}")


def _decoded(vault: Vault, disclosure: Disclosure) -> str:
    """Return what a report says to someone without a key of the aggregators."""
    from tactful.device.network.contributor import report_bytes
    from tactful.errors import VaultDamaged

    if disclosure.dropped:
        return "the report was erased before it was sent"
    try:
        report, seconds = _decode_report(report_bytes(vault, disclosure))
    except VaultDamaged:
        return "the bytes of the report are missing"
    hour = seconds // 3600
    leader_size = len(report.leader.payload)
    helper_size = len(report.helper.payload)
    return (
        f"decoded: id {report.metadata.report_id.hex()}, hour {hour}, sealed shares of "
        f"{leader_size:,} (leader) and {helper_size:,} (helper) bytes"
    )


def _decode_report(body: bytes) -> tuple[Report, int]:
    """Return a report of either DAP draft, and its time in unix seconds."""
    from tactful.errors import DecodeError
    from tactful.protocol.dap.messages import Report
    from tactful.protocol.dap.versions import DAP_09, DAP_18
    from tactful.protocol.documents.task import TIME_PRECISION

    try:
        report, version = Report.decode(body, DAP_18), DAP_18
    except DecodeError:
        report, version = Report.decode(body, DAP_09), DAP_09
    return report, report.metadata.time * version.unit(TIME_PRECISION)


def _print_lifetime(state: DeviceState) -> None:
    """Print the cost by purpose, in the last year, and since installation."""
    from tactful.privacy.lifetime import lifetime_spending

    latest = max((charge.time for charge in state.ledger.charges), default=0)
    spending = lifetime_spending(state.ledger, 1e-6, latest)
    rows = {
        **spending.purposes,
        "in the year before the last charge": spending.year,
        "since install": spending.whole,
    }
    for name, spent in rows.items():
        rho = float(spent.rho)
        print(
            f"  {name}: {spent.charges} charges, rho {rho:.6f}, "
            f"epsilon {spent.epsilon:.3f} at delta 1e-6"
        )


def _export(options: argparse.Namespace) -> int:
    from tactful.device.event_schema import built_in
    from tactful.device.rights.data_report import exported

    vault, state = _open_vault(options)
    with vault:
        document = exported(vault.read(), state, built_in(), vault=vault.id, delta=1e-6)
    print(json.dumps(document, indent=1))
    return 0


def _disclosures(options: argparse.Namespace) -> int:
    from tactful.device.event_schema import EventSchema, built_in
    from tactful.device.rights.store_disclosures import (
        disclosures,
        require_current,
        write,
    )
    from tactful.device.settings import Settings

    settings = Settings.from_file(options.settings)
    event_schema = built_in()
    if options.signals is not None:
        event_schema = EventSchema.parse(_read_text(options.signals))
    documents = disclosures(settings, event_schema)
    if options.check:
        require_current(options.folder, documents)
        print(f"{len(documents)} documents in {options.folder} are current")
    else:
        write(options.folder, documents)
        print(f"{len(documents)} documents in {options.folder} are written")
    return 0


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise InvalidInput("--signals", f"{path} is not a file", "name a JSON file")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "--signals", f"{path} is not text ({error})", "name a JSON file"
        ) from error


def _erase(options: argparse.Namespace) -> int:
    from tactful.device.caps import CapEngine
    from tactful.device.clock import SystemClock
    from tactful.device.state.removal import forget

    vault, _ = _open_vault(options)
    with vault:
        hidden = (
            [] if options.hides else CapEngine(vault, SystemClock()).blocks.mute_rows()
        )
        erased = forget(vault, hidden)
    print(f"{erased} records erased; charges, consent and sent reports stay")
    if hidden:
        print(f"{len(hidden)} hidden items stay hidden; --hides shows them again")
    return 0


def _reset(options: argparse.Namespace) -> int:
    from tactful.device.rights.reset import reset
    from tactful.privacy.budget import total

    if not (options.yes or _confirm(options.vault)):
        raise InvalidInput(
            "--yes", "the reset was not confirmed", "answer y, or pass --yes"
        )
    result = reset(options.vault, options.key_file)
    print(f"the old vault is kept as {result.vault}")
    if result.key is not None:
        print(f"its key is kept as {result.key}")
    rho = float(total(result.charges))
    print(f"{len(result.charges)} charges, rho {rho:.6f}, are carried over")
    if not result.complete:
        print(
            "not every charge could be read: this device waits for the trust period of "
            "the app before it contributes; a rollback anchor of the app charges what "
            "it knows to have been spent"
        )
    return 0


def _confirm(vault: Path) -> bool:
    """Ask the person to confirm; no answer means no."""
    print(
        f"{vault} is set aside and kept. Its contents are no longer used, except for "
        "its charges."
    )
    try:
        answer = input("Set it aside? [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


if __name__ == "__main__":
    sys.exit(main())
