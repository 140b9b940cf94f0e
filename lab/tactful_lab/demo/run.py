"""The demo: a training with two aggregators and real devices, and its report."""

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
from tactful_lab.demo.figures import DemoResult, Shop, report_content
from tactful_lab.demo.report_page import (
    ListedItem,
    PersonPage,
    ReportContent,
    Round,
    SentReport,
    render,
)
from tactful_lab.evidence.bundle import merge, published_evidence
from tactful_lab.evidence.staging_run import staging_evidence
from tactful_lab.simulation.population import Population
from tactful_lab.simulation.wire_crowd import open_round, send_crowd

DATASET, MODEL, DELTA = "online-retail", "shop", 1e-6
SHARING = Consent.to("local_profile", "local_personalization", "share_dp_updates")
MIN_BATCH = 1000
WIRE_DEVICES = 1000  # that report to the running pair, each with a proof
LIST_LENGTH = 5  # of the lists in the report
SURFACE = "story"


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    epsilon: float
    devices: int
    seed: int
    out: Path
    json: Path | None
    evidence: Path | None = None


@dataclass
class DemoProgress:
    """The results so far, for the report."""

    rounds: list[Round] = field(default_factory=list)
    before: list[ListedItem] = field(default_factory=list)
    contributions: list[Contribution] = field(default_factory=list)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab demo`."""
    summary = "run a complete training on real data and write a report"
    parser = subparsers.add_parser("demo", help=summary, description=summary)
    parser.add_argument(
        "--epsilon",
        type=float,
        default=3.0,
        help="budget of the training; default: %(default)s",
    )
    parser.add_argument(
        "--devices",
        type=int,
        default=12,
        help="full devices, with vault and ledger; default: %(default)s",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the baselines and the sample of test people; default: %(default)s",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("out/demo"),
        help="folder of the report; default: %(default)s",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write all figures as JSON"
    )
    parser.add_argument(
        "--evidence",
        type=Path,
        metavar="DIR",
        help="also write the evidence bundle that an auditor checks",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab demo` and return its exit status."""
    demo_options = Options(
        options.epsilon,
        options.devices,
        options.seed,
        options.out,
        options.json,
        options.evidence,
    )
    mu_for(demo_options.epsilon, DELTA)  # raises InvalidInput that names epsilon
    if not 1 <= demo_options.devices <= 200:
        raise InvalidInput(
            "--devices", f"{demo_options.devices} is out of range", "use 1 to 200"
        )
    demo_options.out.mkdir(parents=True, exist_ok=True)
    content = run_demo(demo_options)
    report = demo_options.out / "report.html"
    _write(report, render(content))
    for path in (demo_options.out / "figures.json", demo_options.json):
        if path is not None:
            _write(path, json.dumps(content.figures, indent=2) + "\n")
    print(f"report: {report}")
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


def run_demo(options: Options) -> ReportContent:
    """Train with a running pair, and return the content of the report."""
    started = time.monotonic()
    shop = _shop()
    print(
        f"{DATASET}: {shop.dataset.users:,} customers, {len(shop.catalog):,} products; "
        f"{len(shop.people.train):,} training people, "
        f"{len(shop.people.test):,} test people"
    )
    model_of_all = _model_of_all(shop, options)
    progress = DemoProgress()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pair = stack.enter_context(running_pair(folder, min_batch_floor=MIN_BATCH))
        print(
            "leader and helper run as separate processes at "
            f"{pair.leader.url} and {pair.helper.url}"
        )
        # The devices are new and have spent nothing, so they need no trust period.
        settings = NewDeviceSettings(
            path=None,
            aggregators=_aggregators(pair),
            lifetime_epsilon=options.epsilon,
            delta=DELTA,
            min_batch_size=MIN_BATCH,
        )
        people = [int(user) for user in shop.people.train[: options.devices]]
        devices = [_device(shop, folder, settings, user, stack) for user in people]
        first_list = devices[0].recommend(LIST_LENGTH, surface=SURFACE)
        progress.before = _listed(first_list)
        _train(options, shop, pair, devices, progress)
        releases = [device.sharing.refresh() for device in devices]
        _check_cost(releases[0], progress, options)
        page = _person_page(shop, devices[0], progress, people[0])
        model = _model_in_use(devices[0])
        if options.evidence is not None:
            _write_evidence(options, pair, devices, len(shop.people.train))
    result = DemoResult(
        shop=shop,
        epsilon=options.epsilon,
        devices=options.devices,
        seed=options.seed,
        release=releases[0],
        model=model,
        model_of_all=model_of_all,
    )
    return report_content(result, progress.rounds, page, started)


def _model_of_all(shop: Shop, options: Options) -> Model:
    """Return the model that the pair would release if all training people reported.

    It is computed in one process. The measurements are those of real devices to the
    bit, and the noise has the distribution of both aggregators. Only the proofs are
    left out, which change no sum.
    """
    crowd = Population(shop.dataset, shop.people.train)
    generator = np.random.default_rng(options.seed)
    return crowd.train(options.epsilon, DELTA, noise="pair", generator=generator).model


def _train(
    options: Options,
    shop: Shop,
    pair: RunningPair,
    devices: Sequence[Personalizer],
    progress: DemoProgress,
) -> None:
    """Run rounds until the pair releases a model.

    In each round all devices contribute, then the operator starts the next step.
    """
    # The first people have full devices, the others are simulated.
    users = shop.people.train[:WIRE_DEVICES]
    crowd = Population(shop.dataset, users[options.devices :])
    pair.start(
        Training(
            model=MODEL,
            catalog=shop.catalog.sha256,
            items=len(shop.catalog),
            users=len(users),
            epsilon=options.epsilon,
            delta=DELTA,
            min_batch_size=MIN_BATCH,
            words=shop.dataset.words or (),
        )
    )
    while pair.refresh(MODEL)["state"] != "released":
        round_started = time.monotonic()
        current = open_round(pair, MODEL)
        task = current.task
        contributions = [device.sharing.contribute() for device in devices]
        progress.contributions += contributions
        bar = ProgressBar(f"round {task.round + 1} of {task.rounds}", len(crowd))
        report_size = send_crowd(pair, current, crowd, bar.update)
        charges = devices[0].status.ledger.charges
        completed = Round(
            name=f"{task.round + 1}: {task.kind}",
            reports=len(users),
            coordinates=task.encoding.padded,
            upload_bytes=report_size,
            epsilon=spent_epsilon(charges, DELTA),
            seconds=time.monotonic() - round_started,
        )
        progress.rounds.append(completed)
        print(_round_line(completed))


def _round_line(completed: Round) -> str:
    kilobytes = completed.upload_bytes / 1000
    return (
        f"round {completed.name:13} {completed.reports:,} reports of "
        f"{kilobytes:,.0f} kB in {completed.seconds:.1f} s; "
        f"one device has spent epsilon {completed.epsilon:.2f}"
    )


class ProgressBar:
    """A progress bar on stderr, if that is a terminal."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total = name, total
        self._is_visible = sys.stderr.isatty()

    def update(self, done: int) -> None:
        """Draw the bar for `done` of the total."""
        if self._is_visible:
            filled = 30 * done // max(self._total, 1)
            bar = "#" * filled + "." * (30 - filled)
            end = "\n" if done >= self._total else ""
            text = f"\r  {self._name} [{bar}] {done:,} of {self._total:,}"
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
    items = []
    for item_id, title, category, number in columns:
        price = None if np.isnan(number) else float(number)
        items.append(Item(id=item_id, title=title, category=category, price=price))
    return Shop(dataset, loading.split(dataset), Catalog(items))


def _device(
    shop: Shop, folder: Path, settings: Settings, user: int, stack: ExitStack
) -> Personalizer:
    """Return a full device with its own encrypted vault and the person's purchases."""
    device_settings = replace(settings, path=str(folder / f"{user}.db"))
    key = KeyFile(folder / f"{user}.key")
    device = stack.enter_context(
        Personalizer(shop.catalog, device_settings, key=key, consent=SHARING)
    )
    for item_id in shop.bought(user):
        device.observe(Event(kind="purchase", item_id=item_id))
    return device


def _check_cost(
    release: ModelRelease, progress: DemoProgress, options: Options
) -> None:
    """Raise TactfulError if the claimed cost is not that charged to a device."""
    contributions_of_first = progress.contributions[:: options.devices]
    charged = sum(
        (contribution.task.release.rho for contribution in contributions_of_first),
        Fraction(),
    )
    if Fraction(release.rho) != charged or release.epsilon > options.epsilon:
        raise TactfulError(
            f"demo: the release claims rho {release.rho}, but a device was charged "
            f"{charged}; report this as a bug"
        )
    print(
        f"released: version {release.version}, signed by both aggregators, at least "
        f"{release.batch_size:,} reports per round; epsilon {release.epsilon:.3f} at "
        f"delta {release.delta:g}, equal to the charges of each device"
    )


def _person_page(
    shop: Shop, device: Personalizer, progress: DemoProgress, user: int
) -> PersonPage:
    """Return the page of one person, and print a part of it."""
    after = device.recommend(LIST_LENGTH, surface=SURFACE)
    first = after[0]
    # Show the list until a frequency cap denies its first item.
    for _ in range(3):
        for pick in device.recommend(LIST_LENGTH, surface=SURFACE):
            device.observe(pick.impression())
    why_not = str(device.explain.why_not(first.item.id, surface=SURFACE))
    print(f"\none person's list: {', '.join(pick.item.title for pick in after)}")
    print(f"  first, because: {'; '.join(str(reason) for reason in first.reasons)}")
    print(f"  why not {first.item.title!r} once more? {why_not}")
    return PersonPage(
        liked=[shop.catalog[item_id].title for item_id in shop.bought(user)[:8]],
        before=progress.before,
        after=_listed(after),
        withheld=first.item.title,
        why_not=why_not,
        sent=_sent_reports(device),
    )


def _write_evidence(
    options: Options, pair: RunningPair, devices: Sequence[Personalizer], people: int
) -> None:
    """Write an evidence bundle: published documents, two ledgers and a staging run."""
    folder = options.evidence
    if folder is None:
        return
    ledgers = [json.dumps(device.sharing.ledger_evidence()) for device in devices[:2]]
    leader = pair.leader.aggregator
    published = published_evidence(leader, MODEL, ledgers, eligible=people)
    evidence = merge(published, staging_evidence(options.epsilon, DELTA))
    write(folder, evidence, secrets.token_bytes(32))
    print(f"evidence: {folder}")


def _model_in_use(device: Personalizer) -> Model:
    if device.model is None:
        raise TactfulError(
            "demo: the device does not use the released model; report this as a bug"
        )
    return device.model


def _sent_reports(device: Personalizer) -> list[SentReport]:
    state = device.status
    charges = state.ledger.charges
    reports = []
    for charge, epsilon in zip(charges, spent_epsilons(charges, DELTA), strict=True):
        disclosure = state.disclosures[charge.task_id]
        report = SentReport(
            report_id=disclosure.report_id,
            bytes=disclosure.size,
            sha256=disclosure.sha256,
            first_bytes=device.sharing.sent_bytes(disclosure)[:48].hex(),
            meaning=disclosure.meaning,
            rho=f"{float(charge.rho):.5f}",
            epsilon_after=epsilon,
        )
        reports.append(report)
    return reports


def _listed(picks: Picks) -> list[ListedItem]:
    return [
        ListedItem(pick.item.title, [str(reason) for reason in pick.reasons])
        for pick in picks
    ]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
