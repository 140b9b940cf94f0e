"""The whole loop on real data: two aggregators, real devices, a refreshed model, a report."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from tactful.device.catalog import Catalog, Item
from tactful.device.consent import Consent
from tactful.device.device_key import KeyFile
from tactful.device.events import Event
from tactful.device.network.contributor import Contribution
from tactful.device.personalizer import Personalizer
from tactful.device.ranking.results import Picks
from tactful.device.settings import Aggregators, Settings
from tactful.errors import InvalidInput, TactfulError
from tactful.learning.model import Model
from tactful.privacy.accountant import mu_for
from tactful.privacy.lifetime import spent_epsilon, spent_epsilons
from tactful.protocol.documents.evidence import write
from tactful.protocol.documents.model_release import ModelRelease
from tactful.testing import NewDeviceSettings
from tactful_aggregator.testing import RunningPair, running_pair
from tactful_aggregator.training.state import Training
from tactful_lab.data_sets import loading
from tactful_lab.demo.figures import Facts, Shop, story
from tactful_lab.demo.report_page import (
    ListedItem,
    PersonPage,
    ReportContent,
    Round,
    SentReport,
    render,
)
from tactful_lab.evidence.bundle import joined, published, staged
from tactful_lab.simulation.population import Population
from tactful_lab.simulation.wire_crowd import open_round, send_crowd

DATASET, MODEL, DELTA = "online-retail", "shop", 1e-6
SHARING = Consent.to("local_profile", "local_personalization", "share_dp_updates")
MIN_BATCH = 1000
WIRE = 1000  # people whose devices report to the running pair, each with a proof
LISTED = 5  # places of a list in the story


@dataclass(frozen=True)
class Options:
    """What the command line chooses."""

    epsilon: float
    devices: int
    seed: int
    out: Path
    json: Path | None
    evidence: Path | None = None


@dataclass
class DemoProgress:
    """What happened so far, for the report."""

    rounds: list[Round] = field(default_factory=list)
    before: list[ListedItem] = field(default_factory=list)
    contributions: list[Contribution] = field(default_factory=list)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab demo`."""
    parser = subparsers.add_parser(
        "demo", help="the whole loop on real data, with a report"
    )
    parser.add_argument(
        "--epsilon", type=float, default=3.0, help="default %(default)s"
    )
    parser.add_argument(
        "--devices", type=int, default=12, help="full devices, default %(default)s"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="who is watched, default %(default)s"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="folder of the report"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all figures there"
    )
    parser.add_argument(
        "--evidence", type=Path, metavar="DIR", help="what an auditor may see"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab demo` does; exit status 0 only if every step held."""
    chosen = Options(
        options.epsilon,
        options.devices,
        options.seed,
        options.out,
        options.json,
        options.evidence,
    )
    mu_for(chosen.epsilon, DELTA)  # raises InvalidInput naming epsilon
    if not 1 <= chosen.devices <= 200:
        raise InvalidInput(
            "--devices", f"{chosen.devices} is out of range", "use 1 to 200"
        )
    chosen.out.mkdir(parents=True, exist_ok=True)
    told = tell(chosen)
    _write(chosen.out / "report.html", render(told))
    for path in (chosen.out / "figures.json", chosen.json):
        if path is not None:
            _write(path, json.dumps(told.figures, indent=2) + "\n")
    print(f"report: {chosen.out / 'report.html'}")
    return 0


def _aggregators(pair: RunningPair) -> Aggregators:
    leader, helper = pair.leader, pair.helper
    return Aggregators(
        model=MODEL,
        leader=leader.url,
        helper=helper.url,
        leader_key=leader.aggregator.pairing_document.signing_key,
        helper_key=helper.aggregator.pairing_document.signing_key,
    )


def tell(chosen: Options) -> ReportContent:
    """Run the whole loop and tell it."""
    started = time.monotonic()
    shop = _shop()
    print(
        f"{DATASET}: {shop.dataset.users:,} customers, {len(shop.catalog):,} products; "
        f"{len(shop.people.train):,} take part, {len(shop.people.test):,} are held out"
    )
    everyone = _everyone(shop, chosen)
    told = DemoProgress()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pair = stack.enter_context(running_pair(folder, min_batch_floor=MIN_BATCH))
        print(
            f"leader and helper run as two processes, at {pair.leader.url} and {pair.helper.url}"
        )
        settings = NewDeviceSettings(  # these devices are made anew, and nothing was spent before
            path=None,
            aggregators=_aggregators(pair),
            lifetime_epsilon=chosen.epsilon,
            delta=DELTA,
            min_batch_size=MIN_BATCH,
        )
        people = [int(user) for user in shop.people.train[: chosen.devices]]
        devices = [_device(shop, folder, settings, user, stack) for user in people]
        told.before = _shown(devices[0].recommend(LISTED, surface="story"))
        _train(chosen, shop, pair, devices, told)
        releases = [device.sharing.refresh() for device in devices]
        _checked(releases[0], told, chosen)
        page = _person(shop, devices[0], told, people[0])
        model = _adopted(devices[0])
        if chosen.evidence is not None:
            _show(
                chosen.evidence, pair, devices, len(shop.people.train), chosen.epsilon
            )
    return story(
        Facts(
            shop,
            chosen.epsilon,
            chosen.devices,
            chosen.seed,
            releases[0],
            model,
            everyone,
        ),
        told.rounds,
        page,
        started,
    )


def _everyone(shop: Shop, chosen: Options) -> Model:
    """The model that the pair would release if all reported: the same code in one process.

    What a device measures is the same to the bit; noise is drawn as both halves draw it. Only the
    proofs are left out, which change no sum.
    """
    crowd = Population(shop.dataset, shop.people.train)
    generator = np.random.default_rng(chosen.seed)
    return crowd.train(chosen.epsilon, DELTA, noise="pair", generator=generator).model


def _train(
    chosen: Options,
    shop: Shop,
    pair: RunningPair,
    devices: Sequence[Personalizer],
    told: DemoProgress,
) -> None:
    """All rounds: full devices and the crowd contribute, the operator refreshes, until released."""
    users = shop.people.train[:WIRE]
    crowd = Population(shop.dataset, users[chosen.devices :])
    pair.start(
        Training(
            model=MODEL,
            catalog=shop.catalog.sha256,
            items=len(shop.catalog),
            users=len(users),
            epsilon=chosen.epsilon,
            delta=DELTA,
            min_batch_size=MIN_BATCH,
            words=shop.dataset.words or (),
        )
    )
    while pair.refresh(MODEL)["state"] != "released":
        began = time.monotonic()
        here = open_round(pair, MODEL)
        told.contributions += [device.sharing.contribute() for device in devices]
        bar = Bar(f"round {here.task.round + 1} of {here.task.rounds}", len(crowd))
        size = send_crowd(pair, here, crowd, bar.at)
        spent = devices[0].status.ledger.charges
        told.rounds.append(
            Round(
                name=f"{here.task.round + 1}: {here.task.kind}",
                reports=len(users),
                coordinates=here.task.encoding.padded,
                upload_bytes=size,
                epsilon=spent_epsilon(spent, DELTA),
                seconds=time.monotonic() - began,
            )
        )
        print(_round_line(told.rounds[-1]))


def _round_line(one: Round) -> str:
    return (
        f"round {one.name:13} {one.reports:,} reports of {one.upload_bytes / 1000:,.0f} kB in "
        f"{one.seconds:.1f} s; one device has spent epsilon {one.epsilon:.2f}"
    )


class Bar:
    """How far a slow step is, on a terminal only."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total, self._live = name, total, sys.stderr.isatty()

    def at(self, done: int) -> None:
        """Draw the bar."""
        if self._live:
            filled = 30 * done // max(self._total, 1)
            drawn = "#" * filled + "." * (30 - filled)
            end = "\n" if done >= self._total else ""
            text = f"\r  {self._name} [{drawn}] {done:,} of {self._total:,}"
            print(text, end=end, file=sys.stderr, flush=True)


def _shop() -> Shop:
    dataset = loading.load(DATASET, None)
    columns = zip(
        dataset.item_ids,
        dataset.titles,
        dataset.categories,
        dataset.prices,
        strict=True,
    )
    items = [
        Item(
            id=i,
            title=title,
            category=category,
            price=None if np.isnan(price) else float(price),
        )
        for i, title, category, price in columns
    ]
    return Shop(dataset, loading.split(dataset), Catalog(items))


def _device(
    shop: Shop, folder: Path, settings: Settings, user: int, stack: ExitStack
) -> Personalizer:
    """A full device with a sealed vault of its own, told what its owner bought."""
    chosen = replace(settings, path=str(folder / f"{user}.db"))
    key = KeyFile(folder / f"{user}.key")
    device = stack.enter_context(
        Personalizer(shop.catalog, chosen, key=key, consent=SHARING)
    )
    for item_id in shop.bought(user):
        device.observe(Event(kind="purchase", item_id=item_id))
    return device


def _checked(release: ModelRelease, told: DemoProgress, chosen: Options) -> None:
    """The claim of the release must follow from what one device was charged; else stop."""
    charged = sum(
        (one.task.release.rho for one in told.contributions[:: chosen.devices]),
        Fraction(),
    )
    if Fraction(release.rho) != charged or release.epsilon > chosen.epsilon:
        raise TactfulError(
            "demo: the release claims another cost than the device was charged"
        )
    print(
        f"released: version {release.version}, signed by both halves, at least "
        f"{release.batch_size:,} reports a round; epsilon {release.epsilon:.3f} at delta "
        f"{release.delta:g}, which is just what each device was charged"
    )


def _person(
    shop: Shop, device: Personalizer, told: DemoProgress, user: int
) -> PersonPage:
    """One person's page: lists before and after, a cap that holds, and what left the device."""
    after = device.recommend(LISTED, surface="story")
    first = after[0]
    for _ in range(3):
        for pick in device.recommend(LISTED, surface="story"):
            device.observe(pick.impression())
    held = device.explain.why_not(first.item.id, surface="story")
    print(f"\none person's list: {', '.join(pick.item.title for pick in after)}")
    print(f"  first, because: {'; '.join(str(reason) for reason in first.reasons)}")
    print(f"  why not {first.item.title!r} once more? {held}")
    return PersonPage(
        liked=[shop.catalog[item_id].title for item_id in shop.bought(user)[:8]],
        before=told.before,
        after=_shown(after),
        withheld=first.item.title,
        why_not=str(held),
        sent=_sent(device),
    )


def _show(
    folder: Path,
    pair: RunningPair,
    devices: Sequence[Personalizer],
    people: int,
    epsilon: float,
) -> None:
    """Write what an auditor may see: all that was published, ledgers, and a staging run."""
    ledgers = [json.dumps(device.sharing.ledger_evidence()) for device in devices[:2]]
    seen = published(pair.leader.aggregator, MODEL, ledgers, eligible=people)
    write(folder, joined(seen, staged(epsilon, DELTA)), secrets.token_bytes(32))
    print(f"evidence: {folder}")


def _adopted(device: Personalizer) -> Model:
    if device.model is None:
        raise TactfulError("demo: no model was adopted")
    return device.model


def _sent(device: Personalizer) -> list[SentReport]:
    sent, memory = [], device.status
    charges = memory.ledger.charges
    for charge, after in zip(charges, spent_epsilons(charges, DELTA), strict=True):
        disclosure = memory.disclosures[charge.task_id]
        sent.append(
            SentReport(
                report_id=disclosure.report_id,
                bytes=disclosure.size,
                sha256=disclosure.sha256,
                first_bytes=device.sharing.sent_bytes(disclosure)[:48].hex(),
                meaning=disclosure.meaning,
                rho=f"{float(charge.rho):.5f}",
                epsilon_after=after,
            )
        )
    return sent


def _shown(picks: Picks) -> list[ListedItem]:
    return [
        ListedItem(pick.item.title, [str(reason) for reason in pick.reasons])
        for pick in picks
    ]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
