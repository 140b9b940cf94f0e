"""`tactful person`: serve the page of one vault on this machine, or write it to a file."""

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
from tactful.person.render import LANGUAGES, render
from tactful.person.server import PersonServer
from tactful.person.story import PageContent, catalog_of, story

MOST_PORT = 65_535


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful person`."""
    told = "the person's page: what is known and why, and every switch"
    command = commands.add_parser("person", help=told, description=told)
    command.add_argument("vault", type=Path, help="the vault's file")
    command.add_argument(
        "--key-file", type=Path, required=True, help="the file with its key"
    )
    command.add_argument(
        "--catalog", type=Path, help="the app's items, JSON; else ids are shown"
    )
    command.add_argument("--settings", type=Path, help="the app's settings, TOML")
    command.add_argument(
        "--port", type=int, default=0, help="0 to 65535; default: a free one"
    )
    command.add_argument(
        "--write", type=Path, metavar="FILE", help="write the page, do not serve"
    )
    command.add_argument(
        "--language", choices=LANGUAGES, default="en", help="with --write"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful person` does."""
    with _device(options) as device:
        if options.write is not None:
            options.write.write_text(
                render(_story(device, options), options.language), "utf-8"
            )
            print(f"written: {options.write}")
        else:
            _serve(device, options.port, lists=options.catalog is not None)
    return 0


def _story(device: Personalizer, options: argparse.Namespace) -> PageContent:
    return story(device, lists=options.catalog is not None)


def _serve(device: Personalizer, port: int, *, lists: bool) -> None:
    if not 0 <= port <= MOST_PORT:
        raise InvalidInput("--port", f"{port} is out of range", f"use 0 to {MOST_PORT}")
    with PersonServer(device, port, lists=lists) as server:
        print(f"open {server.address}\nCtrl-C ends it", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.stderr.write("ended\n")


def _device(options: argparse.Namespace) -> Personalizer:
    require_files(options.vault, options.key_file)
    key = KeyFile(options.key_file)
    if options.catalog is None:
        with Vault.open(options.vault, key) as vault:
            catalog = catalog_of(vault)
    else:
        catalog = Catalog.from_file(options.catalog)
    told = options.settings
    settings = Settings(path=None) if told is None else Settings.from_file(told)
    chosen = replace(settings, path=str(options.vault))
    return Personalizer(catalog, chosen, key=key, consent=None)


def require_files(vault: Path, key: Path) -> None:
    """Raise InvalidInput unless both are there: whoever only looks makes no vault and no key."""
    for name, path in (("vault", vault), ("--key-file", key)):
        if not path.is_file():
            raise InvalidInput(name, f"{path} is not a file", "name one that is there")
        if not path.stat().st_size:
            raise InvalidInput(
                name, f"{path} is empty", "name the one that the app uses"
            )
