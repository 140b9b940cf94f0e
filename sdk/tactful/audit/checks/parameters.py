"""Checks A: facts that follow from the documents alone, by exact arithmetic.

Source: docs/spec/privacy.md 4.1.
"""

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
    EvidenceMissing,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.privacy import accountant, discrete_gaussian
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.mechanism import Adjacency, Placement, Sampling
from tactful.privacy.sampling import SampledRounds
from tactful.protocol.documents.task import Task
from tactful.vdaf.field64 import FIELD64

# The packages that noise and measurements pass through.
RELEASE_PATH = ("tactful.privacy", "tactful.vdaf", "tactful.protocol")
# Names of generators that can be given a seed.
SEEDED = {
    "default_rng",
    "RandomState",
    "PCG64",
    "Philox",
    "SFC64",
    "Random",
    "randbytes",
}
# Names of functions that draw floats.
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
# Fields that are the same in all rounds of a training.
TRAINING_FIELDS = (
    "epsilon",
    "delta",
    "placement",
    "honest",
    "catalog",
    "items",
    "adjacency",
    "min_batch_size",
)
TERMS = ("unit", "adjacency", "placement")
COUNTED_NOISE = {
    Placement.AGGREGATOR: "the noise of one aggregator",
    Placement.DEVICES: "the noise of the honest devices that the claim counts",
    Placement.LOCAL: "the noise of one device (local)",
}
LEAST_BATCH = {**dict.fromkeys(LEARNED, 1000), "experiment": 100}


def check_privacy_terms_agree(case: AuditCase) -> CheckOutcome:
    """A1: unit, adjacency and placement agree in claim, tasks, charges and releases.

    Each device has at most one charge, and so one report, in each batch.
    """
    claim = case.claim
    terms: set[tuple[str, ...]] = {(claim.unit, claim.adjacency, claim.placement)}
    terms |= {
        (str(event.unit), str(event.adjacency), str(event.placement))
        for event in case.events
    }
    terms |= {
        (release.unit, release.adjacency, release.placement)
        for release in case.claimed_releases
    }
    task_ids = {task.id.hex() for task in case.tasks}
    for ledger in case.available_ledgers:
        charges = [charge for charge in ledger.charges if charge.task_id in task_ids]
        for charge in charges:
            terms.add(tuple(str(charge.event.get(name)) for name in TERMS))
        charged_tasks = {charge.task_id for charge in charges}
        require(
            len(charged_tasks) == len(charges),
            f"ledger {ledger.ledger_id[:8]}: a device was charged twice for one batch",
        )
    require(
        len(terms) == 1,
        f"{', '.join(TERMS)}: the documents disagree: {sorted(terms)}",
    )
    Adjacency(claim.adjacency)
    label = case.placement.label(min(task.honest for task in case.tasks))
    return CheckOutcome(
        True, f"{claim.unit}, {claim.adjacency} in all documents; {label}"
    )


def check_sensitivity_bounds(case: AuditCase) -> CheckOutcome:
    """A2: the accounted norm bound is that of rounded vectors, not of clipping."""
    bounds = {task.id.hex(): _exact_bound(task) for task in case.tasks}
    for task in case.tasks:
        accounted, exact = task.release.norm_bound, bounds[task.id.hex()]
        require(
            accounted == exact,
            f"round {task.round}: the task accounts a norm bound of {accounted}, but "
            f"the norm bound of a rounded vector is {exact}",
        )
    for ledger in case.available_ledgers:
        for charge in ledger.charges:
            charged = charge.event.get("norm_bound")
            expected = bounds.get(charge.task_id, charged)
            require(
                charged == expected,
                f"ledger {ledger.ledger_id[:8]}: a charge accounts a norm bound of "
                f"{charged}, but the norm bound of a rounded vector is {expected}",
            )
    return CheckOutcome(
        True, f"Delta2 = {', '.join(str(bound) for bound in bounds.values())}"
    )


def _exact_bound(task: Task) -> int:
    """Return floor(c^2 + d/4 + c + sqrt(d)/2), or the bound of the box if it is less.

    It searches integers downwards, and shares no code with the devices.
    """
    dimension, levels, box = task.encoding.padded, task.levels, task.box
    # c^2 + d/4, and the square of c + sqrt(d)/2.
    rational = Fraction(levels**2 * dimension, 4 * box**2) + Fraction(dimension, 4)
    root2 = dimension * (Fraction(levels, 2 * box) + Fraction(1, 2)) ** 2
    bound = math.floor(rational) + math.isqrt(math.floor(root2)) + 2
    while bound > rational and (bound - rational) ** 2 > root2:
        bound -= 1
    return min(bound, (levels // 2) ** 2 * dimension)


def check_noise_suffices(case: AuditCase) -> CheckOutcome:
    """A3: the counted noise suffices for the claim, and its tables have 128 bits.

    By placement, one aggregator's noise counts, that of the honest devices, or that of
    one device.
    """
    counted = COUNTED_NOISE[case.placement]
    epsilon = accountant.claim(case.events, case.claim.delta).headline
    require(
        epsilon <= case.claim.epsilon * (1 + 1e-9),
        f"claim.epsilon: {case.claim.epsilon:.4f} is claimed, but {counted} gives "
        f"{epsilon:.4f}",
    )
    for event in case.events:
        table = NoiseTable.of(event.family, event.sigma2)
        # A threshold of 64 bits has low limbs of zero.
        sample = range(table.lowest, 0, max(1, -table.lowest // 64))
        with_low_bits = sum(1 for number in sample if _has_low_bits(table, number))
        require(
            2 * with_low_bits >= len(sample),
            "noise table: its thresholds have 64 bits, not 128",
        )
        require(
            event.sigma2 >= 1,
            f"sigma2: {float(event.sigma2):.3g} is below one squared level",
        )
    measured = f"epsilon {epsilon:.4f} from rho {float(case.events_rho):.6g}: {counted}"
    return CheckOutcome(True, measured, {"epsilon": epsilon})


def _has_low_bits(table: NoiseTable, number: int) -> bool:
    return table.threshold(number) % (1 << 64) != 0


def check_no_sum_wraps_around(case: AuditCase) -> CheckOutcome:
    """A4: the largest sum, with noise of both aggregators, is below half the modulus.

    Their noise is counted at 12 sigma. Noise of devices is inside the range of a
    report, which its proof covers.
    """
    largest_part = 0.0
    for task in case.tasks:
        largest_sum = case.claim.eligible * task.most
        largest_sum += math.ceil(12 * math.sqrt(2 * Fraction(task.sigma2)))
        require(
            2 * largest_sum < FIELD64.modulus,
            f"round {task.round}: a sum may reach {largest_sum}, more than half of the "
            "field's modulus",
        )
        largest_part = max(largest_part, 2 * largest_sum / FIELD64.modulus)
    return CheckOutcome(
        True, f"sums use at most 2^{math.log2(largest_part):.0f} of the field"
    )


def check_delta_is_small_and_single(case: AuditCase) -> CheckOutcome:
    """A5: all documents have one delta, at most 1 / (10 devices)."""
    delta = case.claim.delta
    deltas = {delta} | {task.delta for task in case.tasks}
    deltas |= {release.delta for release in case.claimed_releases}
    require(len(deltas) == 1, f"delta: the documents disagree: {sorted(deltas)}")
    ceiling = 1 / (10 * case.claim.eligible)
    require(
        delta <= ceiling,
        f"delta: {delta:g} is above {ceiling:g}, a tenth of 1 / eligible devices",
    )
    return CheckOutcome(True, f"delta {delta:g} <= {ceiling:g} in all documents")


def check_sampling_is_as_claimed(case: AuditCase) -> CheckOutcome:
    """A6: the accounted sampling is that of the scheduler, and its claim is proved."""
    # Read first, so that the check does not run without tasks.
    claim, rho = case.claim, case.events_rho
    require(
        claim.sampling == claim.scheduler,
        f"claim.sampling: it is accounted as {claim.sampling}, but the scheduler "
        f"chooses batches by {claim.scheduler}",
    )
    sampling = Sampling(claim.sampling)
    if sampling != Sampling.ALL:
        # The epsilon is not used. The call raises for every claim without a proof.
        SampledRounds(
            sampling=sampling,
            mu2=2 * rho,
            rate=Fraction(1, 2),
            rounds=1,
            adjacency=Adjacency(claim.adjacency),
            aggregator_sees=not {"leader", "helper"} <= set(claim.hidden_from),
        ).epsilon(claim.delta)
    require(
        not claim.hidden_from,
        "claim.hidden_from: aggregators receive the reports, so they see who takes "
        "part",
    )
    return CheckOutcome(
        True, "a batch has all devices that reported; no amplification is claimed"
    )


def check_only_large_batches_are_published(case: AuditCase) -> CheckOutcome:
    """A7: batches are large, and published sums have the size of their task."""
    for task in case.tasks:
        least = LEAST_BATCH[task.kind]
        require(
            task.min_batch_size >= least,
            f"round {task.round}: a {task.kind} batch of {task.min_batch_size} is "
            f"below the minimum of {least}",
        )
    for record in case.records:
        length = len(case.evidence.sums.get(record.sum, ()))
        tasks = [task for task in case.tasks if task.id.hex() == record.task]
        sizes = {task.encoding.padded for task in tasks}
        require(
            not sizes or length in sizes,
            f"batch record: its sum has {length} numbers, not those of its task",
        )
    smallest = min(task.min_batch_size for task in case.tasks)
    return CheckOutcome(True, f"batches of at least {smallest}")


def check_tasks_are_fixed_and_logged(case: AuditCase) -> CheckOutcome:
    """A8: every task is logged, and is the same for all devices."""
    logged = {entry.sha256 for entry in case.log if entry.kind == "task"}
    for task in case.tasks:
        require(
            task.id.hex() in logged, f"round {task.round}: its task is not in the log"
        )
    # Two models may open a round in the same second.
    rounds = {(task.model, task.round, task.opens) for task in case.tasks}
    require(
        len(rounds) == len(case.tasks), "tasks: one round has two different documents"
    )
    for tasks in case.trainings:
        for name in TRAINING_FIELDS:
            values = {getattr(task, name) for task in tasks}
            require(
                len(values) == 1,
                f"{name}: it differs between rounds: {sorted(map(str, values))}",
            )
    for ledger in case.available_ledgers:
        for disclosure in ledger.disclosures:
            require(
                str(disclosure.get("task_id")) in logged,
                f"ledger {ledger.ledger_id[:8]}: a device reported to a task that is "
                "not in the log",
            )
    return CheckOutcome(True, f"{len(case.tasks)} tasks, all logged")


def check_randomness_sources(case: AuditCase) -> CheckOutcome:
    """A9: noise comes from the kernel only, takes no seed, and differs after a fork."""
    parameters = list(inspect.signature(discrete_gaussian.draw).parameters)
    require(
        parameters == ["table", "count"],
        f"sampler: its parameters are {parameters}; one of them could be a seed",
    )
    names = _used_names(RELEASE_PATH)
    seeded = [f"{name} in {module}" for module, name in names if name in SEEDED]
    require(not seeded, f"{', '.join(seeded[:1])}: another source of randomness")
    first, second = (_draw_in_a_fork() for _ in range(2))
    require(first != second, "sampler: two forked workers drew the same noise")
    return CheckOutcome(True, "kernel entropy only; two forks differ")


def _draw_in_a_fork() -> bytes:
    """Return noise that a forked child draws, as bytes."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        table = NoiseTable.laplace(Fraction(100))
        os.write(writer, discrete_gaussian.draw(table, 64).tobytes())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        content = pipe.read()
    os.wait()
    return content


def _used_names(packages: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of each attribute and import in `packages`."""
    for module, tree in sources(packages):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                yield module, node.attr
            elif isinstance(node, ast.alias):
                yield module, node.name.rpartition(".")[2]


def sources(packages: tuple[str, ...]) -> Iterator[tuple[str, ast.Module]]:
    """Yield (module, syntax tree) of the installed modules of `packages`."""
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise EvidenceMissing(
                f"source of {package}",
                "install the package with its source files",
                problem="not installed",
            )
        for path in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
            yield f"{package}.{path.stem}", ast.parse(path.read_text())


def float_samples(packages: tuple[str, ...] = ("tactful.privacy",)) -> list[str]:
    """Return the uses of float samplers in `packages`; correct code has none."""
    names = _used_names(packages)
    return [f"{name} in {module}" for module, name in names if name in FLOATS]


_PROVED = EvidenceClass.PROVED
CHECKS = (
    Check(
        id="A1",
        claim="all documents have one unit, adjacency and placement of noise, and a "
        "device sends one report per batch",
        evidence_class=_PROVED,
        run=check_privacy_terms_agree,
        hazards=(3, 4, 6),
    ),
    Check(
        id="A2",
        claim="the sensitivity is that of the rounded vector",
        evidence_class=_PROVED,
        run=check_sensitivity_bounds,
    ),
    Check(
        id="A3",
        claim="the noise that the claim counts is sufficient",
        evidence_class=_PROVED,
        run=check_noise_suffices,
    ),
    Check(
        id="A4",
        claim="no sum wraps around",
        evidence_class=_PROVED,
        run=check_no_sum_wraps_around,
    ),
    Check(
        id="A5",
        claim="delta is small and the same in all documents",
        evidence_class=_PROVED,
        run=check_delta_is_small_and_single,
        hazards=(5, 7),
    ),
    Check(
        id="A6",
        claim="the scheduler samples as the accountant assumes",
        evidence_class=_PROVED,
        run=check_sampling_is_as_claimed,
    ),
    Check(
        id="A7",
        claim="only sums of large batches are published",
        evidence_class=_PROVED,
        run=check_only_large_batches_are_published,
        hazards=(8, 15),
    ),
    Check(
        id="A8",
        claim="public quantities are fixed before the first report",
        evidence_class=_PROVED,
        run=check_tasks_are_fixed_and_logged,
        hazards=(14, 19),
    ),
    Check(
        id="A9",
        claim="noise comes from the kernel, without a seed",
        evidence_class=_PROVED,
        run=check_randomness_sources,
    ),
)
