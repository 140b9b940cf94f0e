"""`tactful`: look into one device's vault, take everything out, erase it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tactful.errors import InvalidInput, TactfulError

if TYPE_CHECKING:
    from tactful.device.state.device_state import DeviceState, Disclosure
    from tactful.device.vault import Vault
    from tactful.protocol.dap.messages import Report


ENDED, UNHEARD = 130, 141  # as shells tell of a program that a signal ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what can be mended is one sentence on stderr and exit status 2."""
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()  # here, where a reader that left can still be answered
    except KeyboardInterrupt:
        print("tactful: ended", file=sys.stderr)
        return ENDED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNHEARD
    except OSError as wrong:
        named = f"{wrong.filename}: {wrong.strerror}" if wrong.filename else wrong
        print(f"tactful: {named}", file=sys.stderr)
        return 2
    except TactfulError as wrong:
        print(f"tactful: {wrong}", file=sys.stderr)
        return 2
    return status


def _run(given: list[str]) -> int:
    if given[:1] == ["audit"]:
        from tactful.audit.cli import main as audit

        return audit(given[1:])  # its exit statuses speak of the claim
    options = _parser().parse_args(given)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    from tactful.audit.cli import add_parser as add_audit
    from tactful.caps_tools.cli import add_parser as add_caps
    from tactful.person.cli import add_parser as add_person

    parser = argparse.ArgumentParser(prog="tactful", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, told in (
        ("ledger", _ledger, "what was charged and what left this device"),
        ("export", _export, "everything the vault holds, as JSON"),
        ("erase", _erase, "destroy events and model; charges stay"),
    ):
        command = commands.add_parser(name, help=told, description=told)
        command.add_argument("vault", type=Path, help="the vault's file")
        command.add_argument(
            "--key-file", type=Path, required=True, help="the file with its key"
        )
        command.set_defaults(run=run)
        if name == "erase":
            command.add_argument(
                "--hides", action="store_true", help="what was hidden, too"
            )
    _add_reset(commands)
    _add_disclosures(commands)
    add_audit(commands)
    add_caps(commands)
    add_person(commands)
    return parser


def _add_disclosures(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    told = "write what app stores and the law ask an app to disclose"
    command = commands.add_parser("disclosures", help=told, description=told)
    command.add_argument("folder", type=Path, help="where the documents go")
    command.add_argument(
        "--settings", type=Path, required=True, help="the app's settings, TOML"
    )
    command.add_argument(
        "--signals", type=Path, help="the app's signals, JSON; else the built-in"
    )
    command.add_argument(
        "--check", action="store_true", help="only fail if one is stale"
    )
    command.set_defaults(run=_disclosures)


def _add_reset(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    help_text = "set a vault aside that does not open, and begin anew; charges stay"
    command = commands.add_parser("reset", help=help_text, description=help_text)
    command.add_argument(
        "vault", type=Path, help="the vault's file; close the app first"
    )
    key_help = (
        "the file with its key; left out, the app keeps the key and makes the new vault"
    )
    command.add_argument("--key-file", type=Path, help=key_help)
    command.add_argument(
        "--yes", action="store_true", help="do not ask for confirmation"
    )
    command.set_defaults(run=_reset)


def _opened(options: argparse.Namespace) -> tuple[Vault, DeviceState]:
    from tactful.device.device_key import KeyFile
    from tactful.device.state.device_state import DeviceState, recall
    from tactful.device.vault import Vault
    from tactful.person.cli import require_files

    require_files(options.vault, options.key_file)
    vault = Vault.open(options.vault, KeyFile(options.key_file))
    return vault, recall(vault, DeviceState())


def _ledger(options: argparse.Namespace) -> int:
    vault, memory = _opened(options)
    with vault:
        for charge in memory.ledger.charges:
            disclosure = memory.disclosures.get(charge.task_id)
            sent = "not made" if disclosure is None else f"{disclosure.size:,} bytes"
            noise = charge.event.get("placement", "unknown")
            print(
                f"{charge.time}  rho {float(charge.rho):.6f}  {sent}  {charge.purpose}, {noise}"
            )
            if disclosure is not None:
                state = "accepted" if disclosure.accepted else "not yet accepted"
                print(
                    f"    report {disclosure.report_id} to {disclosure.recipient}, {state}"
                )
                print(f"    {disclosure.meaning}")
                print(f"    {_decoded(vault, disclosure)}")
        print(
            f"{len(memory.ledger.charges)} charges, rho {float(memory.ledger.spent):.6f} in all"
        )
        _lifetime(memory)
    return 0


def _decoded(vault: Vault, disclosure: Disclosure) -> str:
    """What the bytes of a report say to whoever holds no key."""
    from tactful.device.network.contributor import report_bytes
    from tactful.errors import VaultDamaged

    if disclosure.dropped:
        return "its bytes were erased unsent"
    try:
        report, seconds = _report(report_bytes(vault, disclosure))
    except VaultDamaged:
        return "its bytes are gone"
    hour = seconds // 3600
    return (
        f"decoded: id {report.metadata.report_id.hex()}, hour {hour}, sealed shares of "
        f"{len(report.leader.payload):,} (leader) and {len(report.helper.payload):,} (helper) bytes"
    )


def _report(body: bytes) -> tuple[Report, int]:
    """A report of either version, and its time in unix seconds."""
    from tactful.errors import DecodeError
    from tactful.protocol.dap.messages import Report
    from tactful.protocol.dap.versions import DAP_09, DAP_18
    from tactful.protocol.documents.task import TIME_PRECISION

    try:
        report, dap = Report.decode(body, DAP_18), DAP_18
    except DecodeError:
        report, dap = Report.decode(body, DAP_09), DAP_09
    return report, report.metadata.time * dap.unit(TIME_PRECISION)


def _lifetime(memory: DeviceState) -> None:
    """The cost as epsilon at delta 1e-6: by purpose, in the last year, since install."""
    from tactful.privacy.lifetime import lifetime

    latest = max((charge.time for charge in memory.ledger.charges), default=0)
    seen = lifetime(memory.ledger, 1e-6, latest)
    rows = {**seen.purposes, "in the year before the last charge": seen.year}
    for name, spent in {**rows, "since install": seen.whole}.items():
        told = f"rho {float(spent.rho):.6f}, epsilon {spent.epsilon:.3f} at delta 1e-6"
        print(f"  {name}: {spent.charges} charges, {told}")


def _export(options: argparse.Namespace) -> int:
    from tactful.device.event_schema import built_in
    from tactful.device.rights.data_report import exported

    vault, memory = _opened(options)
    with vault:
        told = exported(vault.read(), memory, built_in(), vault=vault.id, delta=1e-6)
    print(json.dumps(told, indent=1))
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
    signals = (
        built_in()
        if options.signals is None
        else EventSchema.parse(_text(options.signals))
    )
    documents = disclosures(settings, signals)
    (require_current if options.check else write)(options.folder, documents)
    done = "current" if options.check else "written"
    print(f"{len(documents)} documents in {options.folder} are {done}")
    return 0


def _text(path: Path) -> str:
    if not path.is_file():
        raise InvalidInput(
            "--signals", f"{path} is not a file", "name one that is there"
        )
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as wrong:
        raise InvalidInput(
            "--signals", f"{path} is no text ({wrong})", "name a JSON file"
        ) from wrong


def _erase(options: argparse.Namespace) -> int:
    from tactful.device.caps import CapEngine
    from tactful.device.clock import SystemClock
    from tactful.device.state.device_state import forget

    vault, _ = _opened(options)
    with vault:
        hidden = [] if options.hides else CapEngine(vault, SystemClock()).lasting()
        erased = forget(vault, hidden)
    print(f"{erased} records erased; charges, consent and what was sent stay on record")
    if hidden:
        print(f"{len(hidden)} hidden things stay hidden; --hides shows them again")
    return 0


def _reset(options: argparse.Namespace) -> int:
    from tactful.device.rights.reset import reset
    from tactful.privacy.budget import total

    if not (options.yes or _confirmed(options.vault)):
        raise InvalidInput(
            "--yes", "nobody confirmed the reset", "answer y, or pass --yes"
        )
    done = reset(options.vault, options.key_file)
    print(f"the vault is kept as {done.vault}")
    if done.key is not None:
        print(f"its key is kept as {done.key}")
    print(
        f"{len(done.charges)} charges, rho {float(total(done.charges)):.6f}, are carried over"
    )
    if not done.complete:
        print(
            "not every charge could be read: this device waits for the app's trust period before"
        )
        print(
            "it contributes, and an anchor of the app charges what it knows to have been spent"
        )
    return 0


def _confirmed(vault: Path) -> bool:
    """Ask the person; no answer is no."""
    print(
        f"{vault} is set aside and kept. What it knows is not used any more; its charges stay."
    )
    try:
        return input("Set it aside? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


if __name__ == "__main__":
    sys.exit(main())
