"""`tactful person`: serve the page of one vault on this machine, or write it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from tactful.device.catalog import Catalog
from tactful.device.device_key import KeyFile
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.device.vault import Vault
from tactful.errors import InvalidInput
from tactful.person.page_content import PageContent, catalog_of, page_content
from tactful.person.render import LANGUAGES, render
from tactful.person.server import PersonServer

MAX_PORT = 65_535


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful person`."""
    help_text = "show the person's page: what is known and why, and all controls"
    command = commands.add_parser("person", help=help_text, description=help_text)
    command.add_argument("vault", type=Path, help="file of the vault")
    command.add_argument(
        "--key-file", type=Path, required=True, help="file with the key of the vault"
    )
    command.add_argument(
        "--catalog",
        type=Path,
        help="items of the app, a JSON file; without it, ids are shown",
    )
    command.add_argument(
        "--settings", type=Path, help="settings of the app, a TOML file"
    )
    command.add_argument(
        "--port", type=int, default=0, help="port, 0 to 65535 (default: a free one)"
    )
    command.add_argument(
        "--write", type=Path, metavar="FILE", help="write the page to a file instead"
    )
    command.add_argument(
        "--language",
        choices=LANGUAGES,
        default="en",
        help="language of the written page",
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful person` and return its exit status."""
    with _device(options) as device:
        if options.write is not None:
            page = render(_page_content(device, options), options.language)
            options.write.write_text(page, "utf-8")
            print(f"written: {options.write}")
        else:
            _serve(device, options.port, lists=options.catalog is not None)
    return 0


def _page_content(device: Personalizer, options: argparse.Namespace) -> PageContent:
    return page_content(device, lists=options.catalog is not None)


def _serve(device: Personalizer, port: int, *, lists: bool) -> None:
    if not 0 <= port <= MAX_PORT:
        raise InvalidInput("--port", f"{port} is out of range", f"use 0 to {MAX_PORT}")
    with PersonServer(device, port, lists=lists) as server:
        print(f"open {server.address}\npress Ctrl-C to stop", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.stderr.write("stopped\n")


def _device(options: argparse.Namespace) -> Personalizer:
    require_files(options.vault, options.key_file)
    key = KeyFile(options.key_file)
    if options.catalog is None:
        with Vault.open(options.vault, key) as vault:
            catalog = catalog_of(vault)
    else:
        catalog = Catalog.from_file(options.catalog)
    settings = Settings(path=None)
    if options.settings is not None:
        settings = Settings.from_file(options.settings)
    settings = replace(settings, path=str(options.vault))
    return Personalizer(catalog, settings, key=key, consent=None)


def require_files(vault: Path, key: Path) -> None:
    """Raise InvalidInput unless both files exist; no vault and no key is created."""
    for name, path in (("vault", vault), ("--key-file", key)):
        if not path.is_file():
            raise InvalidInput(name, f"{path} is not a file", "name an existing file")
        if not path.stat().st_size:
            raise InvalidInput(
                name, f"{path} is empty", "name the file that the app uses"
            )
