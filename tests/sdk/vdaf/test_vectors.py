"""Every reference vector of our types, byte for byte; what is malformed fails where it must."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tactful.errors import DecodeError, ProofRejected
from tactful.vdaf.circuit import SumVec
from tactful.vdaf.field64 import FIELD64
from tactful.vdaf.field128 import FIELD128
from tactful.vdaf.instances import count, histogram, sum_, sum_vec, sum_vec_multiproof
from tactful.vdaf.pine import PINE64, Pine, pine64
from tactful.vdaf.pine_circuit import Layout
from tactful.vdaf.prio3 import Prio3
from tactful.vdaf.vdaf import Received
from tactful.vdaf.version import VDAF_08, VDAF_18, Version
from tactful.vdaf.xof import HmacSha256Aes128, TurboShake128, derive_seed, expand

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "vdaf"
TESTING = 0xFFFFFFFF  # the number of types that exist for vectors only
HMAC = "Prio3SumVecField64MultiproofHmacSha256Aes128"


def names(*patterns: str) -> list[str]:
    found = sorted(
        str(path.relative_to(VECTORS)) for one in patterns for path in VECTORS.glob(one)
    )
    assert found
    return found


def load(name: str) -> Mapping[str, object]:
    vector: dict[str, object] = json.loads((VECTORS / name).read_text())
    return vector


def prio3(name: str, vector: Mapping[str, object]) -> Prio3:
    version = VDAF_18 if "18" in name else VDAF_08
    kind, shares = (
        Path(name).name.rpartition("Prio3")[2].split("_")[0],
        vector["shares"],
    )
    most = vector.get("max_measurement") or 2 ** vector.get("bits", 1) - 1
    if kind == "Count":
        return count(version, shares=shares)
    if kind == "Sum":
        return sum_(version, most, shares=shares)
    length, chunk = vector["length"], vector["chunk_length"]
    if kind == "Histogram":
        return histogram(version, length, chunk, shares=shares)
    if kind == "SumVec":
        return sum_vec(version, length, most, chunk, shares=shares)
    if kind == "SumVecWithMultiproof":
        return with_multiproof(version, length, most, chunk, shares)
    proofs = vector["proofs"]
    return sum_vec_multiproof(version, length, most, chunk, proofs, shares=shares)


def with_multiproof(
    version: Version, length: int, most: int, chunk: int, shares: int
) -> Prio3:
    """The drafts' type for their vectors: 0xFFFF1003 with the other XOF."""
    circuit = SumVec(FIELD64, length, most, chunk, per_call=version.per_call)
    proofs = 3 if version is VDAF_18 else 4
    return Prio3(version, TESTING, circuit, version.turboshake, proofs, shares)


def pine(name: str, vector: Mapping[str, object]) -> Pine:
    layout = Layout(
        vector["dimension"],
        vector["l2_norm_bound"],
        vector["num_wr_checks"],
        vector["num_wr_successes"],
    )
    hmac = "Hmac" in name
    return pine64(
        layout,
        vector["chunk_length"],
        vector["chunk_length_norm_equality"],
        proofs=vector["proofs"],
        scale=2 ** vector["num_frac_bits"],
        shares=vector["shares"],
        xof=HmacSha256Aes128() if hmac else VDAF_08.turboshake,
        algorithm=PINE64 if hmac else TESTING,
    )


class Follower:
    """Does what a vector says, and compares every byte."""

    def __init__(self, vdaf: Prio3 | Pine, vector: Mapping[str, object]) -> None:
        self.vdaf, self.vector = vdaf, vector
        self.key, self.context = self.bytes("verify_key"), self.bytes("ctx")
        self.reports = vector.get("reports") or vector["prep"]
        self.states, self.outputs = {}, {}

    def bytes(self, name: str) -> bytes:
        return bytes.fromhex(self.vector.get(name, ""))

    def steps(self) -> list[Mapping[str, object]]:
        """The vector's own, or all of them."""
        return self.vector.get("operations") or [
            {
                "operation": operation,
                "report_index": index,
                "aggregator_id": agg,
                "success": True,
            }
            for index in range(len(self.reports))
            for operation in (
                "shard",
                "verify_init",
                "verifier_shares_to_message",
                "verify_next",
            )
            for agg in range(
                self.vdaf.shares if operation in ("verify_init", "verify_next") else 1
            )
        ]

    def follow(self) -> None:
        for step in self.steps():
            if step["success"]:
                self.take(step)
            else:
                with pytest.raises((ProofRejected, DecodeError)):
                    self.take(step)
        if self.vector["agg_shares"]:
            self.compare_sums()

    def take(self, step: Mapping[str, object]) -> None:
        if "report_index" not in step:
            return  # sums are compared at the end
        index, agg = step["report_index"], step.get("aggregator_id")
        report = self.reports[index]
        verifiers = (report.get("verifier_shares") or report["prep_shares"])[0]
        messages = report.get("verifier_messages", report.get("prep_messages"))
        match step["operation"]:
            case "shard":
                self.shard(report)
            case "verify_init":
                self.states[index, agg] = self.verify_init(report, agg, verifiers[agg])
            case "verifier_shares_to_message":
                shares = [bytes.fromhex(share) for share in verifiers]
                message = self.vdaf.verifier_message(shares, self.context)
                assert message.hex() == messages[0]
            case "verify_next":
                message = bytes.fromhex(messages[0])
                output = self.vdaf.verify_next(self.states[index, agg], message)
                assert self.vdaf.field.encode(output).hex() == "".join(
                    report["out_shares"][agg]
                )
                self.outputs.setdefault(agg, []).append(output)

    def shard(self, report: Mapping[str, object]) -> None:
        nonce, random = (bytes.fromhex(report[name]) for name in ("nonce", "rand"))
        public, shares = self.vdaf.shard(
            report["measurement"], nonce, random, self.context
        )
        assert public.hex() == report["public_share"]
        assert [share.hex() for share in shares] == report["input_shares"]

    def verify_init(
        self, report: Mapping[str, object], agg: int, expected: str
    ) -> object:
        nonce, public = (
            bytes.fromhex(report[name]) for name in ("nonce", "public_share")
        )
        received = Received(nonce, public, bytes.fromhex(report["input_shares"][agg]))
        [prepared] = self.vdaf.verify_init(self.key, agg, [received], self.context)
        if isinstance(prepared, Exception):
            raise prepared
        assert prepared[1].hex() == expected
        return prepared[0]

    def compare_sums(self) -> None:
        field, total = self.vdaf.field, self.vdaf.field.zeros(self.vdaf.output_length)
        for agg, expected in enumerate(self.vector["agg_shares"]):
            share = field.zeros(self.vdaf.output_length)
            for output in self.outputs[agg]:
                share = field.add(share, output)
            assert field.encode(share).hex() == expected
            total = field.add(total, share)
        result = self.vdaf.decode(total)
        scale = (
            2 ** self.vector["num_frac_bits"]
            if "num_frac_bits" in self.vector
            else None
        )
        decoded = result if scale is None else [value / scale for value in result]
        assert decoded == self.vector["agg_result"]


@pytest.mark.parametrize(
    "name", names("vdaf-*/Prio3*_*.json", "daphne-private-codepoints/*.json")
)
def test_prio3_follows_its_vectors(name: str) -> None:
    vector = load(name)

    Follower(prio3(name, vector), vector).follow()


@pytest.mark.parametrize("name", names("pine/Pine64*.json"))
def test_pine64_follows_its_vectors(name: str) -> None:
    vector = load(name)

    Follower(pine(name, vector), vector).follow()


@pytest.mark.parametrize(
    ("name", "xof"),
    [
        ("vdaf-18_19_20/XofTurboShake128.json", VDAF_18.turboshake),
        ("vdaf-08/XofTurboShake128.json", VDAF_08.turboshake),
        ("libprio-rs/XofHmacSha256Aes128.json", HmacSha256Aes128()),
    ],
)
def test_an_xof_follows_its_vector(
    name: str, xof: TurboShake128 | HmacSha256Aes128
) -> None:
    vector = load(name)
    seed, dst, binder = (
        bytes.fromhex(vector[part]) for part in ("seed", "dst", "binder")
    )

    expanded = expand(xof, FIELD128, seed, dst, binder, vector["length"])

    assert FIELD128.encode(expanded).hex() == vector["expanded_vec_field128"]
    assert derive_seed(xof, seed, dst, binder).hex() == vector["derived_seed"]


def test_no_type_of_ours_lacks_vectors() -> None:
    kinds = {Path(name).name.split("_")[0] for name in names("*/*.json")}

    assert kinds >= {"Prio3Count", "Prio3Sum", "Prio3SumVec", "Prio3Histogram", HMAC}
    assert kinds >= {"Prio3SumVecWithMultiproof", "Pine64", "Pine64HmacSha256Aes128"}
