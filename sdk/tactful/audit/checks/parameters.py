"""A: what follows from the documents alone, by exact arithmetic (design/privacy.md 4.1)."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    NotShown,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.privacy import accountant, discrete_gaussian
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.mechanism import Adjacency, Placement, Sampling
from tactful.privacy.sampling import SampledRounds
from tactful.protocol.documents.task import Task
from tactful.vdaf.field64 import FIELD64

RELEASE_PATH = (
    "tactful.privacy",
    "tactful.vdaf",
    "tactful.protocol",
)  # what noise passes through
SEEDED = {
    "default_rng",
    "RandomState",
    "PCG64",
    "Philox",
    "SFC64",
    "Random",
    "randbytes",
}
FLOATS = {
    "normal",
    "standard_normal",
    "gauss",
    "laplace",
    "normalvariate",
    "uniform",
    "random",
}
LEARNED = ("popularity", "subspace", "gram", "trial")
SHARED = ("epsilon", "delta", "placement", "honest")
TERMS = ("unit", "adjacency", "placement")
COUNTED = {
    Placement.AGGREGATOR: "one half's noise",
    Placement.DEVICES: "the noise of as many devices as must be honest",
    Placement.LOCAL: "one device's own noise (local)",
}
LEAST_BATCH = {**dict.fromkeys(LEARNED, 1000), "experiment": 100}


def one_unit(case: AuditCase) -> CheckOutcome:
    """A1: one unit, neighbour and place of noise in task, charge, release and claim.

    And one report of a device in each batch.
    """
    said: set[tuple[str, ...]] = {
        (case.claim.unit, case.claim.adjacency, case.claim.placement)
    }
    said |= {
        (str(one.unit), str(one.adjacency), str(one.placement)) for one in case.events
    }
    if case.evidence.documents.releases:
        said |= {
            (one.unit, one.adjacency, one.placement)
            for one in case.releases
            if one.model == case.claim.model
        }
    ids = {task.id.hex() for task in case.tasks}
    for ledger in case.ledgers if case.evidence.documents.ledgers else ():
        mine = [charge for charge in ledger.charges if charge.task_id in ids]
        said |= {tuple(str(c.event.get(name)) for name in TERMS) for c in mine}
        require(
            len({c.task_id for c in mine}) == len(mine),
            "a device was charged twice for a batch",
        )
    require(len(said) == 1, f"{sorted(said)} are claimed side by side")
    Adjacency(case.claim.adjacency)
    label = case.placement.label(min(task.honest for task in case.tasks))
    return CheckOutcome(
        True, f"{case.claim.unit}, {case.claim.adjacency} everywhere; {label}"
    )


def sensitivity(case: AuditCase) -> CheckOutcome:
    """A2: the bound that devices test is the bound that is accounted, and is not the clip norm."""
    bounds = {task.id.hex(): _exact_bound(task) for task in case.tasks}
    for task in case.tasks:
        require(
            task.release.norm_bound == bounds[task.id.hex()],
            f"round {task.round}: {task.release.norm_bound} is accounted, "
            f"{bounds[task.id.hex()]} is what a rounded vector can have",
        )
    for ledger in case.ledgers if case.evidence.documents.ledgers else ():
        for charge in ledger.charges:
            paid = charge.event.get("norm_bound")
            expected = bounds.get(charge.task_id, paid)
            require(
                paid == expected,
                f"a charge accounts {paid} where a vector can have {expected}",
            )
    return CheckOutcome(
        True, f"Delta2 = {', '.join(str(bound) for bound in bounds.values())}"
    )


def _exact_bound(task: Task) -> int:
    """floor(c^2 + d/4 + c + sqrt(d)/2) by searching whole numbers: no code shared with devices."""
    d, levels, box = task.encoding.padded, task.levels, task.box
    rational = Fraction(levels**2 * d, 4 * box**2) + Fraction(d, 4)
    root2 = (
        d * (Fraction(levels, 2 * box) + Fraction(1, 2)) ** 2
    )  # the square of c + sqrt(d)/2
    bound = math.floor(rational) + math.isqrt(math.floor(root2)) + 2
    while bound > rational and (bound - rational) ** 2 > root2:
        bound -= 1
    return min(bound, (levels // 2) ** 2 * d)


def noise_suffices(case: AuditCase) -> CheckOutcome:
    """A3: the noise that the claim counts is enough for it, from a table of 128 bits.

    It is one half's, or that of the devices a task counts on, or one device's own.
    """
    delta = case.claim.delta
    spent = sum((event.rho for event in case.events), Fraction(0))
    epsilon = accountant.claim(case.events, delta).headline
    require(
        epsilon <= case.claim.epsilon * (1 + 1e-9),
        f"{COUNTED[case.placement]} gives epsilon {epsilon:.4f}, "
        f"{case.claim.epsilon:.4f} is claimed",
    )
    for event in case.events:
        table = NoiseTable.of(event.family, event.sigma2)
        places = range(table.lowest, 0, max(1, -table.lowest // 64))
        low = sum(1 for place in places if _low(table, place))
        require(2 * low >= len(places), "the thresholds hold 64 bits, not 128")
        require(
            event.sigma2 >= 1, f"sigma^2 {float(event.sigma2):.3g} is below one level"
        )
    told = (
        f"epsilon {epsilon:.4f} from rho {float(spent):.6g}: {COUNTED[case.placement]}"
    )
    return CheckOutcome(True, told, {"epsilon": epsilon})


def _low(table: NoiseTable, number: int) -> bool:
    return table.threshold(number) % (1 << 64) != 0


def no_wraparound(case: AuditCase) -> CheckOutcome:
    """A4: the largest sum with 12 sigma of both halves' noise stays inside half the modulus.

    Noise of devices is within the range of each report, which is proved.
    """
    used = 0.0
    for task in case.tasks:
        most = case.claim.eligible * task.most
        most += math.ceil(12 * math.sqrt(2 * Fraction(task.sigma2)))
        require(
            2 * most < FIELD64.modulus,
            f"round {task.round}: sums reach {most}, beyond p/2",
        )
        used = max(used, 2 * most / FIELD64.modulus)
    return CheckOutcome(True, f"sums use at most 2^{math.log2(used):.0f} of the field")


def delta_small(case: AuditCase) -> CheckOutcome:
    """A5: one delta everywhere, at most a tenth of one device's share."""
    deltas = {case.claim.delta} | {task.delta for task in case.tasks}
    if case.evidence.documents.releases:
        deltas |= {one.delta for one in case.releases if one.model == case.claim.model}
    require(len(deltas) == 1, f"{sorted(deltas)} are used side by side")
    ceiling = 1 / (10 * case.claim.eligible)
    require(
        case.claim.delta <= ceiling, f"delta {case.claim.delta:g} is above {ceiling:g}"
    )
    return CheckOutcome(True, f"delta {case.claim.delta:g} <= {ceiling:g} everywhere")


def sampling_as_run(case: AuditCase) -> CheckOutcome:
    """A6: the sampling in the accountant is what the scheduler runs, and may be claimed."""
    claim, rho = case.claim, sum((event.rho for event in case.events), Fraction(0))
    require(
        claim.sampling == claim.scheduler,
        f"accounted as {claim.sampling}, but batches are chosen by {claim.scheduler}",
    )
    sampling = Sampling(claim.sampling)
    if sampling != Sampling.ALL:
        SampledRounds(  # raises for every claim without a proof
            sampling=sampling,
            mu2=2 * rho,
            rate=Fraction(1, 2),
            rounds=1,
            adjacency=Adjacency(claim.adjacency),
            aggregator_sees=not {"leader", "helper"} <= set(claim.hidden_from),
        ).epsilon(claim.delta)
    require(
        not claim.hidden_from,
        "aggregators receive the reports: they see who takes part",
    )
    return CheckOutcome(
        True, "every batch is whoever reported; no amplification is claimed"
    )


def nothing_beside(case: AuditCase) -> CheckOutcome:
    """A7: batches are large, and only sums and whole documents of a known kind are published."""
    for task in case.tasks:
        least = LEAST_BATCH[task.kind]
        require(
            task.min_batch_size >= least,
            f"{task.kind}: a batch of {task.min_batch_size}",
        )
    for record in case.records:
        length = len(case.evidence.sums.get(record.sum, ()))
        sizes = {t.encoding.padded for t in case.tasks if t.id.hex() == record.task}
        require(
            not sizes or length in sizes, f"a sum of {length} numbers was published"
        )
    return CheckOutcome(
        True, f"batches of at least {min(t.min_batch_size for t in case.tasks)}"
    )


def frozen(case: AuditCase) -> CheckOutcome:
    """A8: every task is logged before its first report, and is the same for everybody."""
    logged = {entry.sha256: entry for entry in case.log if entry.kind == "task"}
    for task in case.tasks:
        require(task.id.hex() in logged, f"round {task.round} is not in the log")
    opened = {(task.round, task.opens) for task in case.tasks}
    require(len(opened) == len(case.tasks), "one round was opened with two documents")
    for tasks in case.trainings:
        for field_name in (*SHARED, "catalog", "items", "adjacency", "min_batch_size"):
            values = {getattr(task, field_name) for task in tasks}
            require(
                len(values) == 1,
                f"{field_name} differs between rounds: {sorted(map(str, values))}",
            )
    known = set(logged)
    for ledger in case.ledgers if case.evidence.documents.ledgers else ():
        for one in ledger.disclosures:
            require(
                str(one.get("task_id")) in known,
                "a device was asked by a task nobody logged",
            )
    return CheckOutcome(True, f"{len(case.tasks)} tasks, all logged")


def randomness(case: AuditCase) -> CheckOutcome:
    """A9: noise comes from the kernel alone; no seed can be given; two forks differ."""
    require(
        list(inspect.signature(discrete_gaussian.draw).parameters)
        == ["table", "count"],
        "the release's sampler takes something that could be a seed",
    )
    found = [
        f"{name} in {module}" for module, name in _named(RELEASE_PATH) if name in SEEDED
    ]
    require(not found, f"{found[0] if found else ''}: another source of randomness")
    first, second = (_drawn_in_a_fork() for _ in range(2))
    require(first != second, "two forked workers drew the same noise")
    return CheckOutcome(True, "kernel entropy only; two forks differ")


def _drawn_in_a_fork() -> bytes:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(
            writer,
            discrete_gaussian.draw(NoiseTable.laplace(Fraction(100)), 64).tobytes(),
        )
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as drawn:
        content = drawn.read()
    os.wait()
    return content


def _named(packages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every attribute and name that the modules of `packages` use."""
    for module, tree in sources(packages):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                yield module, node.attr
            elif isinstance(node, ast.alias):
                yield module, node.name.rpartition(".")[2]


def sources(packages: tuple[str, ...]) -> Iterator[tuple[str, ast.Module]]:
    """The parsed modules of `packages`, as installed."""
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise NotShown(f"{package} is not installed as source")
        for path in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
            yield f"{package}.{path.stem}", ast.parse(path.read_text())


def float_samples(packages: tuple[str, ...] = ("tactful.privacy",)) -> list[str]:
    """Calls in `packages` that draw a float sample: there must be none."""
    return [
        f"{name} in {module}" for module, name in _named(packages) if name in FLOATS
    ]


_PROVED = EvidenceClass.PROVED
CHECKS = (
    Check(
        id="A1",
        claim="one unit, adjacency and place of noise, one report per device and batch",
        ground=_PROVED,
        run=one_unit,
        hazards=(3, 4, 6),
    ),
    Check(
        id="A2",
        claim="sensitivity is that of the rounded vector",
        ground=_PROVED,
        run=sensitivity,
    ),
    Check(
        id="A3",
        claim="the noise that counts suffices",
        ground=_PROVED,
        run=noise_suffices,
    ),
    Check(id="A4", claim="no sum wraps around", ground=_PROVED, run=no_wraparound),
    Check(
        id="A5",
        claim="delta is small and single",
        ground=_PROVED,
        run=delta_small,
        hazards=(5, 7),
    ),
    Check(
        id="A6",
        claim="sampling claimed is sampling run",
        ground=_PROVED,
        run=sampling_as_run,
    ),
    Check(
        id="A7",
        claim="nothing personal is published beside the sums",
        ground=_PROVED,
        run=nothing_beside,
        hazards=(8, 15),
    ),
    Check(
        id="A8",
        claim="public quantities are frozen before the first report",
        ground=_PROVED,
        run=frozen,
        hazards=(14, 19),
    ),
    Check(
        id="A9",
        claim="noise comes from the kernel, without a seed",
        ground=_PROVED,
        run=randomness,
    ),
)
