"""The noise has exactly the law that is accounted, and is drawn from the kernel."""

import ast
import inspect
import json
import math
import os
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.privacy import discrete_gaussian
from tactful.privacy.discrete_gaussian import NoiseTable, draw, largest_draw
from tactful.privacy.mechanism import FAMILIES, Family

sigma2s = st.fractions(Fraction(1, 16), 400, max_denominator=1000)


def bytes_of(words: list[int]) -> discrete_gaussian.Entropy:
    """Entropy that returns these 64-bit words, one after the other."""
    stream = b"".join(word.to_bytes(8, "little") for word in words)

    def entropy(count: int) -> bytes:
        nonlocal stream
        first, stream = stream[:count], stream[count:]
        return first

    return entropy


def test_the_table_matches_the_exact_law(shared: Path) -> None:
    content = json.loads(
        (shared / "vectors" / "dp" / "discrete_gaussian_exact.json").read_text()
    )
    for row in content["rows"]:
        table = NoiseTable.of("discrete_gaussian", Fraction(row["sigma2"]))
        for number, mass in row["pmf"].items():
            for sign in (1, -1):
                found = table.probability(sign * int(number))
                assert abs(found - Fraction(mass)) < Fraction(1, 10**24)


def test_the_table_gives_the_exact_privacy_loss(shared: Path) -> None:
    content = json.loads(
        (shared / "vectors" / "dp" / "discrete_gaussian_exact.json").read_text()
    )
    for row in content["rows"]:
        table = NoiseTable.of("discrete_gaussian", Fraction(row["sigma2"]))
        for epsilon, exact in row["delta_of_eps_sens1"].items():
            assert float(_delta(table, epsilon)) == pytest.approx(
                float(exact), rel=1e-12
            )


def _delta(table: NoiseTable, epsilon: str) -> Decimal:
    with localcontext() as context:
        context.prec = 50
        factor = Decimal(epsilon).exp()
        reach = range(table.lowest, -table.lowest + 2)
        masses = {
            k: _decimal(table.probability(k))
            for k in range(table.lowest - 1, reach.stop)
        }
        return sum(
            (max(Decimal(0), masses[k] - factor * masses[k - 1]) for k in reach),
            Decimal(0),
        )


def _decimal(exact: Fraction) -> Decimal:
    return Decimal(exact.numerator) / Decimal(exact.denominator)


@pytest.mark.parametrize(
    "sigma2", [Fraction(1, 4), Fraction(1), Fraction(37, 3), Fraction(10**4)]
)
def test_the_rounded_law_is_the_gaussian_on_each_level(sigma2: Fraction) -> None:
    table = NoiseTable.of("rounded_gaussian", sigma2)
    sigma = math.sqrt(sigma2)

    for number in range(int(4 * sigma)):
        low, high = (number - 0.5) / sigma, (number + 0.5) / sigma
        exact = (math.erfc(low / math.sqrt(2)) - math.erfc(high / math.sqrt(2))) / 2
        assert float(table.probability(number)) == pytest.approx(exact, rel=1e-9)


@given(sigma2=sigma2s, family=st.sampled_from(FAMILIES))
@settings(max_examples=30)
def test_every_table_is_a_symmetric_law_on_the_whole_numbers(
    sigma2: Fraction, family: Family
) -> None:
    table = NoiseTable.of(family, sigma2)
    masses = [table.probability(k) for k in range(table.lowest, -table.lowest + 1)]

    assert sum(masses) == 1
    assert min(masses) >= 0
    assert all(
        abs(a - b) <= Fraction(2, 1 << 128)
        for a, b in zip(masses, masses[::-1], strict=True)
    )
    assert (
        table.lowest == -math.ceil(14 * math.sqrt(sigma2)) - 2 or sigma2.denominator > 1
    )


@given(
    word=st.integers(0, (1 << 128) - 1),
    sigma2=st.sampled_from([Fraction(1, 4), Fraction(7), Fraction(2500)]),
)
@settings(max_examples=200)
def test_a_draw_is_the_number_of_thresholds_that_its_word_reaches(
    word: int, sigma2: Fraction
) -> None:
    table = NoiseTable.of("rounded_gaussian", sigma2)

    drawn = table.sample(1, bytes_of([word >> 64, word & (2**64 - 1)]))[0]

    assert table.threshold(int(drawn) - 1) <= word < table.threshold(int(drawn))


@pytest.mark.parametrize("place", [-6, -1, 0, 5])
def test_a_tie_of_the_high_limb_is_resolved_by_the_low_limb(place: int) -> None:
    table = NoiseTable.of("discrete_gaussian", Fraction(4))
    high, low = divmod(table.threshold(place), 1 << 64)

    below = table.sample(1, bytes_of([high, low - 1]))[0]
    at = table.sample(1, bytes_of([high, low]))[0]

    assert (below, at) == (place, place + 1)


def test_extreme_words_stay_inside_the_table() -> None:
    table = NoiseTable.of("rounded_gaussian", Fraction(9))
    most = 2**64 - 1

    lowest, highest = (
        table.sample(1, bytes_of(words))[0] for words in ([0, 0], [most, most])
    )

    assert table.lowest <= lowest < -12 * 3
    assert 12 * 3 < highest <= -table.lowest


def test_many_draws_are_the_same_as_one_after_the_other() -> None:
    table = NoiseTable.of("rounded_gaussian", Fraction(640**2))
    count = discrete_gaussian.LANES + 3
    together = table.sample(count, np.random.default_rng(5).bytes)

    stream = np.random.default_rng(5)
    apart = [table.sample(1, lambda n: stream.bytes(n))[0] for _ in range(200)]

    assert together[:200].tolist() == apart


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sigma2", [Fraction(1, 4), Fraction(9, 2), Fraction(10**4)])
def test_draws_follow_the_table(family: Family, sigma2: Fraction) -> None:
    """Chi-square on 40,000 draws; |z| < 5 gives a false alarm once in 10^6; the seed is fixed."""
    table = NoiseTable.of(family, sigma2)
    count, sigma = 40_000, math.sqrt(sigma2)

    drawn = table.sample(count, np.random.default_rng(11).bytes)

    edges = np.unique(np.round(np.linspace(-2 * sigma, 2 * sigma, 12)).astype(int))
    cells = np.searchsorted(edges, drawn, side="left")
    marks = [0, *(table.threshold(int(edge)) for edge in edges), 1 << 128]
    expected = np.diff([mark / 2.0**128 for mark in marks]) * count
    observed = np.bincount(cells, minlength=len(expected))
    chi2, freedom = (
        float(((observed - expected) ** 2 / expected).sum()),
        len(expected) - 1,
    )
    assert abs(chi2 - freedom) / math.sqrt(2 * freedom) < 5


def test_the_kernel_noise_has_the_declared_variance_and_no_seed() -> None:
    """The variance of 200,000 draws; 6 sigmas, a false alarm once in 10^9."""
    table = NoiseTable.of("rounded_gaussian", Fraction(100))
    count = 200_000

    drawn = draw(table, count)

    assert drawn.dtype == np.int64
    assert drawn.var() == pytest.approx(100 + 1 / 12, rel=6 * math.sqrt(2 / count))
    assert abs(drawn.mean()) < 6 * 10 / math.sqrt(count)
    assert list(inspect.signature(draw).parameters) == ["table", "count"]
    assert not np.array_equal(drawn, draw(table, count))


@pytest.mark.parametrize("sigma2", [Fraction(1, 17), Fraction(32_769**2), Fraction(-1)])
def test_a_table_that_is_too_small_or_too_large_is_refused_by_name(
    sigma2: Fraction,
) -> None:
    with pytest.raises(InvalidInput, match=r"^sigma2: .*raise epsilon"):
        NoiseTable.of("rounded_gaussian", sigma2)


def test_the_privacy_package_uses_no_other_source_of_randomness(root: Path) -> None:
    """Floats are parameters there, never samples: no generator but the kernel's is imported."""
    for module in (root / "sdk" / "tactful" / "privacy").glob("*.py"):
        tree = ast.parse(module.read_text())
        names = {
            node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
        }
        imports = {
            name.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for name in node.names
        }
        assert not names & {
            "random",
            "normal",
            "default_rng",
            "standard_normal",
            "gauss",
        }, module
        assert "random" not in imports
        assert ("secrets" in imports) == (module.name == "discrete_gaussian.py")


def test_noise_is_whole_numbers_of_the_declared_size() -> None:
    """The standard deviation of 10^5 coordinates within 1 %: 4 standard errors; fixed seed."""
    for sigma in (30, 2_000):
        table = NoiseTable.of("rounded_gaussian", Fraction(sigma**2))

        drawn = table.sample(100_000, np.random.default_rng(sigma).bytes)

        assert drawn.dtype == np.int64
        assert drawn.std() == pytest.approx(sigma, rel=0.01)


def test_the_laplace_table_matches_the_exact_law(shared: Path) -> None:
    content = json.loads(
        (shared / "vectors" / "dp" / "discrete_laplace_exact.json").read_text()
    )
    for row in content["rows"]:
        table = NoiseTable.laplace(Fraction(row["scale"]))
        for number, mass in row["pmf"].items():
            assert abs(table.probability(-int(number)) - Fraction(mass)) < Fraction(
                1, 10**24
            )
        assert float(table.variance) == pytest.approx(float(row["variance"]), rel=1e-12)


def test_the_variance_of_a_table_is_that_of_its_law(shared: Path) -> None:
    content = json.loads(
        (shared / "vectors" / "dp" / "discrete_gaussian_exact.json").read_text()
    )
    for row in content["rows"]:
        table = NoiseTable.of("discrete_gaussian", Fraction(row["sigma2"]))
        assert float(table.variance) == pytest.approx(float(row["variance"]), rel=1e-12)
        assert table.masses().sum() == pytest.approx(1, abs=1e-12)


def test_the_distance_of_a_release_is_far_below_any_delta() -> None:
    """privacy.md 1.3: 2.6e-27 for a release at d = 16,384, sigma 640, epsilon 8."""
    table = NoiseTable.of("rounded_gaussian", Fraction(640**2))

    assert (1 + math.exp(8)) * 16_384 * table.distance == pytest.approx(
        2.6e-27, rel=0.05
    )


@pytest.mark.parametrize("scale", [Fraction(1, 17), Fraction(4682), Fraction(-1)])
def test_a_laplace_scale_that_is_too_small_or_too_large_is_refused(
    scale: Fraction,
) -> None:
    with pytest.raises(InvalidInput, match=r"^scale: .*raise epsilon"):
        NoiseTable.laplace(scale)


def test_two_forked_workers_draw_different_noise() -> None:
    """The kernel's entropy has no state that a fork could copy."""
    table = NoiseTable.of("rounded_gaussian", Fraction(100))
    reader, writer = os.pipe()
    for _ in range(2):
        if os.fork() == 0:
            os.write(writer, draw(table, 64).tobytes())
            os._exit(0)
    for _ in range(2):
        os.wait()
    first, second = os.read(reader, 512), os.read(reader, 512)
    os.close(reader)
    os.close(writer)

    assert len(first) == len(second) == 512
    assert first != second


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(40)])
def test_laplace_draws_follow_their_table(scale: Fraction) -> None:
    """Chi-square on 40,000 draws; |z| < 5 gives a false alarm once in 10^6; the seed is fixed."""
    table, count = NoiseTable.laplace(scale), 40_000

    drawn = table.sample(count, np.random.default_rng(13).bytes)

    expected = table.masses() * count
    common = expected >= 10
    observed = np.bincount(drawn - table.lowest, minlength=len(expected))
    rest = expected[~common].sum()
    chi2 = float(
        (np.square(observed[common] - expected[common]) / expected[common]).sum()
    )
    chi2 += float((observed[~common].sum() - rest) ** 2 / rest)
    freedom = int(common.sum())
    assert abs(chi2 - freedom) / math.sqrt(2 * freedom) < 5


@given(sigma2=st.fractions(Fraction(1, 16), 10**9, max_denominator=10**6))
def test_a_table_ends_two_levels_beyond_fourteen_sigma_rounded_up(
    sigma2: Fraction,
) -> None:
    whole = largest_draw(sigma2) - 2

    assert (whole - 1) ** 2 < 14**2 * sigma2 <= whole**2
