"""Faults in the code that clips, rounds, adds noise and refuses, planted in a running pair."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tactful.audit.checks import mechanism, parameters
from tactful.audit.finding import Status
from tactful.privacy import accountant, discrete_gaussian, rounding, shares
from tactful.privacy.discrete_gaussian import NoiseTable, draw
from tactful.protocol import vector_encoding
from tactful.protocol.documents.evidence import Documents, Evidence
from tactful.protocol.vector_encoding import Encoding
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator.dap.collector import Collector
from tactful_aggregator.datastore import ReleasedShare, StoreTransaction
from tactful_aggregator.datastore.batches import SumQueries
from tactful_aggregator.jobs import collection
from tactful_aggregator.task_registry import ProvisionedTask
from tactful_aggregator.training import countersign
from tactful_aggregator.upload import accept
from tactful_lab.evidence.mechanism_replay import replay_encoding
from tactful_lab.evidence.staging import StagingPair
from tactful_lab.evidence.staging_run import (
    noise_residuals,
    observe_refusals,
    send_canaries,
)

from .conftest import check_result

EPSILON, DELTA = 3.0, 1e-6
Patch = pytest.MonkeyPatch
Draw = Callable[[NoiseTable, int], np.ndarray]


# noise: each fault replaces the one function that both halves draw with


def halved(table: NoiseTable, count: int) -> np.ndarray:
    return draw(table, count) // 2


def at_95_percent(table: NoiseTable, count: int) -> np.ndarray:
    return draw(NoiseTable.of(table.law, table.spread * Fraction(361, 400)), count)


def missing_shares(table: NoiseTable, count: int) -> np.ndarray:
    return draw(NoiseTable.of(table.law, table.spread * Fraction(7, 10)), count)


def truncated(table: NoiseTable, count: int) -> np.ndarray:
    limit = round(2.5 * float(table.spread) ** 0.5)
    drawn = draw(table, 4 * count)
    return drawn[np.abs(drawn) <= limit][:count]


def truncated_and_widened(table: NoiseTable, count: int) -> np.ndarray:
    return np.round(truncated(table, count) * (1 - 0.0911) ** -0.5).astype(np.int64)


def seed_reused(table: NoiseTable, count: int) -> np.ndarray:
    stream = hashlib.shake_128(b"the same seed").digest(8 * count)
    return table.sample(count, lambda size: stream[:size])


def _seed_of_the_batch() -> Draw:
    """Both halves derive their stream from what both know: each batch anew, each half alike."""
    drawn = {"count": 0}

    def shared(table: NoiseTable, count: int) -> np.ndarray:
        batch = drawn["count"] // 2
        drawn["count"] += 1
        stream = hashlib.shake_128(b"%d" % batch).digest(8 * count)
        return table.sample(count, lambda size: stream[:size])

    return shared


NOISE: dict[str, Draw] = {
    "noise halved": halved,
    "noise at 95 %": at_95_percent,
    "30 % of the shares missing": missing_shares,
    "noise truncated at 2.5 sigma": truncated,
    "truncated, with its variance restored": truncated_and_widened,
    "seed reused": seed_reused,
    "aggregators share a seed": _seed_of_the_batch(),
}


@pytest.mark.parametrize("fault", NOISE)
def test_noise_that_differs_from_its_declaration_is_detected(
    pair: StagingPair, monkeypatch: Patch, fault: str
) -> None:
    monkeypatch.setattr(collection, "draw", NOISE[fault])
    shown = noise_residuals(pair, EPSILON, DELTA, length=8192, batches=3)

    assert check_result("C2", Evidence(residuals=shown))[0] is Status.REFUTED


def test_the_same_residuals_without_a_fault_are_not_refuted(pair: StagingPair) -> None:
    shown = noise_residuals(pair, EPSILON, DELTA, length=8192, batches=3)

    status, measured = check_result("C2", Evidence(residuals=shown))

    assert (
        status is Status.INCONCLUSIVE
    )  # fewer than are asked, and nothing wrong with them
    assert "residuals" in measured


def test_halved_noise_is_caught_by_canaries_too(
    pair: StagingPair, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(collection, "draw", halved)
    canaries = send_canaries(pair, EPSILON, DELTA, 500)

    assert (
        check_result("D1", Evidence(documents=Documents(canaries=canaries)))[0]
        is Status.REFUTED
    )


# clipping and rounding: each fault replaces one step of the device's path


def _toward_the_corner(values: np.ndarray, bound: int, coins: object) -> np.ndarray:
    return (np.sign(values) * np.ceil(np.abs(values))).astype(np.int64)


def _nan_is_zero(self: Encoding, vectors: np.ndarray, coins: object) -> np.ndarray:
    return HONEST_ENCODE(self, np.nan_to_num(vectors, posinf=0.0, neginf=0.0), coins)


def _shortcut(self: Encoding, vectors: np.ndarray, coins: object) -> np.ndarray:
    if not vectors.any():
        return np.full((len(vectors), self.padded), self.levels // 2, dtype=np.uint8)
    return HONEST_ENCODE(self, vectors, coins)


HONEST_ENCODE = Encoding.encode
PATH: dict[str, list[tuple[object, str, object]]] = {
    "clipping skipped": [
        (vector_encoding, "_clipped", lambda vectors: vectors),
        (rounding, "accepts", lambda rounded, bound: True),
    ],
    "clipping skipped, the exact test left in": [
        (vector_encoding, "_clipped", lambda vectors: vectors)
    ],
    "rounding away from zero": [(rounding, "round_within", _toward_the_corner)],
    "NaN through the clip": [(Encoding, "encode", _nan_is_zero)],
    "an empty history takes another path": [(Encoding, "encode", _shortcut)],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", PATH)
def test_a_vector_that_moves_the_sum_too_far_is_caught(
    pair: StagingPair, monkeypatch: Patch, fault: str
) -> None:
    task = pair.task("replay", 1000, EPSILON, DELTA)
    honest = Evidence(documents=Documents(replay=replay_encoding(task)))
    assert check_result("C1", honest)[0] is Status.PASSED
    for owner, name, replacement in PATH[fault]:
        monkeypatch.setattr(owner, name, replacement)

    planted = Evidence(documents=Documents(replay=replay_encoding(task)))

    assert check_result("C1", planted)[0] is Status.REFUTED


# the sampler, as it is installed where the audit runs


@pytest.fixture
def fresh_tables() -> Iterator[None]:
    """No table made by a fault outlives its test, nor one from before."""
    discrete_gaussian._table.cache_clear()
    yield
    discrete_gaussian._table.cache_clear()


def _off_by_one(masses: list) -> list:
    return HONEST_TAILS([masses[0], *masses[:-1]])


HONEST_TAILS, HONEST_NOISE_TABLE = (
    discrete_gaussian._upper_tails,
    discrete_gaussian._noise_table,
)


def _64_bits(
    law: str, spread: Fraction, lowest: int, thresholds: list[int]
) -> NoiseTable:
    return HONEST_NOISE_TABLE(law, spread, lowest, [t >> 64 << 64 for t in thresholds])


@pytest.mark.usefixtures("fresh_tables")
def test_thresholds_off_by_one_are_caught(monkeypatch: Patch) -> None:
    monkeypatch.setattr(discrete_gaussian, "_upper_tails", _off_by_one)

    assert check_result("C3", Evidence())[0] is Status.REFUTED


@pytest.mark.usefixtures("fresh_tables")
def test_thresholds_of_64_bits_are_caught(honest: Evidence, monkeypatch: Patch) -> None:
    monkeypatch.setattr(discrete_gaussian, "_noise_table", _64_bits)

    status, measured = check_result("A3", honest)

    assert status is Status.REFUTED
    assert "64 bits" in measured


def test_a_table_with_cut_tails_is_caught_though_its_variance_is_right(
    monkeypatch: Patch,
) -> None:
    monkeypatch.setattr(mechanism, "draw", truncated_and_widened)

    assert check_result("C3", Evidence())[0] is Status.REFUTED


def test_sampling_time_that_depends_on_the_noise_is_detected(
    monkeypatch: Patch,
) -> None:
    def leaking(table: NoiseTable, count: int) -> np.ndarray:
        drawn = draw(table, count)
        until = time.perf_counter_ns() + 200 * abs(int(drawn[0]))
        while time.perf_counter_ns() < until:
            pass
        return drawn

    monkeypatch.setattr(mechanism, "draw", leaking)

    assert check_result("C5", Evidence())[0] is Status.REFUTED


def test_a_random_stream_that_a_fork_copies_is_detected(monkeypatch: Patch) -> None:
    stream = random.Random(7)

    def forked(table: NoiseTable, count: int) -> np.ndarray:
        return table.sample(count, stream.randbytes)

    monkeypatch.setattr(discrete_gaussian, "draw", forked)

    status, measured = check_result("A9", Evidence())

    assert status is Status.REFUTED
    assert "forked workers" in measured


def test_a_seed_parameter_is_caught(monkeypatch: Patch) -> None:
    monkeypatch.setattr(
        discrete_gaussian, "draw", lambda table, count, seed=None: draw(table, count)
    )

    assert check_result("A9", Evidence())[0] is Status.REFUTED


def test_a_float_sample_in_the_source_is_caught(
    honest: Evidence, monkeypatch: Patch
) -> None:
    import ast

    bad = ast.parse("def draw(sigma): return generator.normal(0, sigma)")
    monkeypatch.setattr(
        parameters, "sources", lambda packages: iter([("tactful.privacy.bad", bad)])
    )

    status, measured = check_result("C4", honest)

    assert status is Status.REFUTED
    assert "normal in tactful.privacy.bad" in measured


def test_an_accountant_that_adds_epsilons_wrongly_is_caught(monkeypatch: Patch) -> None:
    right = accountant.epsilon_for
    monkeypatch.setattr(
        accountant, "epsilon_for", lambda mu, delta: 0.9 * right(mu, delta)
    )

    assert check_result("B1", Evidence())[0] is Status.REFUTED


def test_a_modulus_too_small_for_negative_sums_is_caught(
    honest: Evidence, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(type(FIELD64), "modulus", 97)

    assert check_result("A4", honest)[0] is Status.REFUTED


def test_a_bound_that_accounts_the_clip_norm_is_caught(
    honest: Evidence, monkeypatch: Patch
) -> None:
    """c^2 instead of c^2 + d/4 + c + sqrt(d)/2, tested and accounted alike."""
    monkeypatch.setattr(
        rounding, "norm_bound", lambda levels, box, d: levels**2 * d // (4 * box**2)
    )

    assert check_result("A2", honest)[0] is Status.REFUTED


def test_shares_accounted_as_one_gaussian_are_detected(
    honest: Evidence, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(
        shares.NoiseShares, "rho", property(lambda self: 0.7 / (2 * self.honest))
    )

    assert check_result("C6", honest)[0] is Status.REFUTED


# what the pair must refuse


def renoised(
    tx: StoreTransaction, provision: ProvisionedTask, batch: object, role: int
) -> ReleasedShare:
    """Draw again each time, from the sum without noise, which is not forgotten."""
    counted, total = collection.merge_shards(tx, provision, batch)
    sealed = collection.seal_share(
        provision, batch, role, collection.add_noise(provision, total)
    )
    released = replace(counted, share=sealed.encode())
    tx.batches.release(provision.task.id, batch.first, batch.last, released)
    return released


REFUSALS: dict[str, tuple[str, object, str, object]] = {
    "a repeat is noised again": ("H3", collection, "release_share", renoised),
    "too little noise is signed": ("H2", countersign, "check_noise", lambda task, earlier: None),
    "a head before any noisy batch is signed": (
        "H5", countersign, "earlier_rounds", lambda task, earlier: []
    ),
    "overlapping cohorts: a late report is taken": ("H4", accept, "_refusal", None),
    "NaN is sent as zero": ("H6", Encoding, "encode", _nan_is_zero),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_request_that_is_wrongly_accepted_is_detected(
    pair: StagingPair, monkeypatch: Patch, fault: str
) -> None:
    name, owner, attribute, replacement = REFUSALS[fault]
    if fault.startswith("overlapping"):
        honest = accept._refusal
        replacement = lambda one, configs, is_closed: honest(  # noqa: E731 - a fault
            one, configs, False
        )
        attribute = "_refusal"
    if fault.startswith("a repeat"):
        monkeypatch.setattr(SumQueries, "delete", lambda *_: None)
    monkeypatch.setattr(owner, attribute, replacement)

    shown = tuple(observe_refusals(pair, EPSILON, DELTA))

    status, measured = check_result(name, Evidence(documents=Documents(refusals=shown)))
    assert status is Status.REFUTED, measured


def test_a_batch_below_its_minimum_that_is_released_is_caught(
    pair: StagingPair, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(collection, "is_large_enough", lambda count, task: True)
    monkeypatch.setattr(Collector, "_require_large", lambda collector, count: None)
    shown = next(iter(observe_refusals(pair, EPSILON, DELTA)))

    assert (
        check_result("H1", Evidence(documents=Documents(refusals=(shown,))))[0]
        is Status.REFUTED
    )


def test_a_correct_pair_refuses_all_forbidden_requests(pair: StagingPair) -> None:
    evidence = Evidence(
        documents=Documents(refusals=tuple(observe_refusals(pair, EPSILON, DELTA)))
    )

    for name in ("H1", "H2", "H3", "H4", "H5", "H6"):
        assert check_result(name, evidence)[0] is Status.PASSED, name
