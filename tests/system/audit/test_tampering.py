"""What a hostile operator or device may do to a bundle, re-signed: never a pass, never a crash."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from tactful.audit.evidence.audit_case import AuditCase
from tactful.audit.finding import Status
from tactful.audit.run import CHECKS, run_check
from tactful.privacy.mechanism import format_fraction
from tactful.protocol.documents.evidence import Evidence, parse
from tactful.protocol.documents.model_release import SignedRelease
from tactful.protocol.documents.task import SignedTask
from tactful.protocol.log import transcript
from tactful.protocol.log.transcript import BatchRecord, SignedCheckpoint
from tactful.protocol.signed_json import canonical

from .conftest import check_result, documented

EXACT = [
    one for one in CHECKS if one.id[0] in "AEFGH" or one.id in ("B2", "B3", "C1", "C4")
]
DEAR = ("A3", "A9", "B2", "C1", "E3")  # or a matter of this installation
CHEAP = [one for one in EXACT if one.id not in DEAR and one.id[0] != "E"]
REST = [one for one in EXACT if one not in CHEAP and one.id not in ("A9", "E3")]
Tamper = Callable[[Evidence], Evidence]


def part(name: str, change: Callable[[list], list]) -> Tamper:
    """Change a list of the documents."""
    return lambda shown: documented(
        shown, **{name: tuple(change(list(getattr(shown.documents, name))))}
    )


def each(name: str, change: Callable[[str], str], place: int = 0) -> Tamper:
    """Change one text of such a list."""
    return part(
        name, lambda kept: [*kept[:place], change(kept[place]), *kept[place + 1 :]]
    )


def task(**changes: object) -> Tamper:
    def other(text: str) -> str:
        signed = SignedTask.decode(text.encode())
        return (
            SignedTask(replace(signed.task, **changes), signed.signatures)
            .encode()
            .decode()
        )

    return each("tasks", other)


def release(**changes: object) -> Tamper:
    def other(text: str) -> str:
        signed = SignedRelease.decode(text.encode())
        changed = replace(signed.release, **changes)
        return SignedRelease(changed, signed.signatures).encode().decode()

    return each("releases", other)


def record(**changes: object) -> Tamper:
    return each(
        "records",
        lambda text: replace(BatchRecord.parse(text), **changes).document.decode(),
    )


def entry(place: int, **changes: object) -> Tamper:
    return each(
        "log", lambda line: replace(transcript.parse(line), **changes).encode(), place
    )


def claim(change: Callable[[object], dict[str, object]]) -> Tamper:
    return lambda shown: documented(
        shown, claim=replace(shown.documents.claim, **change(shown.documents.claim))
    )


def outer(name: str, **changes: object) -> Tamper:
    return each(name, lambda text: canonical({**json.loads(text), **changes}).decode())


def head(**changes: object) -> Tamper:
    def other(shown: Evidence) -> Evidence:
        first, *rest = shown.documents.heads
        signed = SignedCheckpoint.decode(first.checkpoint)
        forged = replace(
            signed, checkpoint=replace(signed.checkpoint, **changes)
        ).encode()
        return documented(shown, heads=(replace(first, checkpoint=forged), *rest))

    return other


def sums(change: Callable[[object], object]) -> Tamper:
    return lambda shown: replace(
        shown, sums={k: change(v) for k, v in shown.sums.items()}
    )


def hidden_training(shown: Evidence) -> Evidence:
    """The operator claims the newest training alone, and leaves an older one out."""
    return documented(
        shown,
        tasks=shown.documents.tasks[1:],
        records=shown.documents.records[1:],
        releases=(),
    )


def swapped(kept: list[str]) -> list[str]:
    return [kept[1], kept[0], *kept[2:]]


TAMPERED: dict[str, Tamper] = {
    "a smaller epsilon": claim(lambda told: {"epsilon": told.epsilon * 0.999}),
    "a smaller rho": claim(lambda told: {"rho": format_fraction(Fraction(told.rho) * Fraction(999, 1000))}),
    "another delta": claim(lambda told: {"delta": told.delta / 2}),
    "more devices than any": claim(lambda told: {"eligible": 10**12}),
    "no device": claim(lambda told: {"eligible": 0}),
    "another model": claim(lambda told: {"model": "other"}),
    "a model in look-alike letters": claim(lambda told: {"model": "f\u0456lms"}),
    "a task left out": part("tasks", lambda kept: kept[1:]),
    "a training left out": hidden_training,
    "every task left out": part("tasks", lambda kept: []),
    "a task with more noise": task(sigma2="99999999/1"),
    "a task with a larger minimum": task(min_batch_size=10**6),
    "a task that opened earlier": task(opens=1),
    "a task of another half": task(helper="https://elsewhere.example"),
    "a task with a smaller epsilon": task(epsilon=0.1),
    "a task with a field too many": outer("tasks", note="x"),
    "no release": part("releases", lambda kept: []),
    "a release that states less": release(epsilon=0.1),
    "a release that states another rho": release(rho="1/1000000"),
    "a release of a larger batch": release(batch_size=10**6),
    "a release of fewer tasks": release(tasks=()),
    "a release of another version": release(version=9),
    "a release that lives longer": release(expires=1 << 40),
    "a release signed by one half": each(
        "releases",
        lambda text: canonical({**json.loads(text), "signatures": {}}).decode(),
    ),
    "a record of more reports": record(count=10**6),
    "a record of more noise": record(sigma2="99999999/1"),
    "a record of another sum": record(sum="0" * 64),
    "a record of another task": record(task="0" * 64),
    "a record left out": part("records", lambda kept: kept[1:]),
    "a line of the log left out": part("log", lambda kept: kept[1:]),
    "the last line of the log left out": part("log", lambda kept: kept[:-1]),
    "two lines of the log swapped": part("log", swapped),
    "a line of the log twice": part("log", lambda kept: [*kept, kept[-1]]),
    "a line of the log in another form": each("log", lambda line: line.replace(":", ": ", 1)),
    "a log entry of another time": entry(0, time=1),
    "a log entry of another kind": entry(0, kind="release"),
    "a log entry of another hash": entry(1, sha256="0" * 64),
    "no log": part("log", lambda kept: []),
    "a head of fewer entries": head(size=1),
    "a head of another root": head(root="0" * 64),
    "a head of another time": head(time=1),
    "a head that is none": lambda shown: documented(
        shown, heads=(replace(shown.documents.heads[0], checkpoint="{}"),)
    ),
    "a ledger that is none": each("ledgers", lambda text: "[]"),
    "a ledger signed by nobody": outer("ledgers", signature=""),
    "a ledger with a field too many": outer("ledgers", note="x"),
    "a ledger of another key": outer("ledgers", public_key="AA=="),
    "a ledger cut": each("ledgers", lambda text: text[:-9]),
    "no ledger": part("ledgers", lambda kept: []),
    "a sum one higher": sums(lambda total: total + 1),
    "a sum of other numbers": sums(lambda total: total * 0),
    "a sum that is a table": sums(lambda total: total[None, :]),
    "no sums": lambda shown: replace(shown, sums={}),
    "an upload to another address": part(
        "uploads",
        lambda kept: [replace(kept[0], url=kept[1].url.replace("127", "128")), *kept[1:]],
    ),
    "an upload for another task": part(
        "uploads",
        lambda kept: [
            replace(one, task=one.task.replace('"rounds":1', '"rounds":2')) for one in kept
        ],
    ),
    "an upload cut": part(
        "uploads", lambda kept: [replace(kept[0], body=kept[0].body[:-4]), *kept[1:]]
    ),
    "an upload that is said to hold another vector": part(
        "uploads",
        lambda kept: [
            replace(kept[0], measurement=(kept[0].measurement[0] + 1, *kept[0].measurement[1:])),
            *kept[1:],
        ],
    ),
    "an upload with another's share": part(
        "uploads",
        lambda kept: [
            replace(kept[0], shares=(kept[0].shares[0], kept[1].shares[1])), *kept[1:]
        ],
    ),
    "no upload": part("uploads", lambda kept: []),
    "a refusal left out": part("refusals", lambda kept: kept[1:]),
    "a refusal that was none": part(
        "refusals", lambda kept: [replace(kept[0], answers=("it was given",)), *kept[1:]]
    ),
    "a neighbour left out": lambda shown: documented(
        shown,
        replay=replace(
            shown.documents.replay, neighbours=shown.documents.replay.neighbours[:-1]
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered_evidence_never_passes_and_never_breaks_the_audit(
    honest: Evidence, name: str
) -> None:
    case = AuditCase(TAMPERED[name](honest))

    ended = {run_check(check, case)[0] for check in CHEAP}

    dear = (
        run_check(check, case)[0] for check in REST
    )  # only if all the others passed
    assert ended != {Status.PASSED} or any(one is not Status.PASSED for one in dear)


def test_all_checks_pass_without_tampering(honest: Evidence) -> None:
    case = AuditCase(honest)
    ended = {check.id: run_check(check, case) for check in (*CHEAP, *REST)}

    assert {
        name: told for name, (status, told) in ended.items() if status != Status.PASSED
    } == {}


def test_a_logged_document_that_is_not_in_the_evidence_leaves_the_claim_open(
    honest: Evidence,
) -> None:
    """The removal test: the exact checks of the rest pass, so G1 alone stands in the way."""
    shown = part("records", lambda kept: kept)(honest)
    extra = transcript.follow(len(honest.documents.log), "task", b"{}", 1 << 40)
    shown = documented(shown, log=(*shown.documents.log, extra.encode()))

    status, measured = check_result("G1", shown)

    assert status is Status.INCONCLUSIVE
    assert measured == (
        "log: 1 logged documents (task) are not in the evidence; ask the operator for them"
    )


def test_values_of_other_types_are_refused_or_get_a_verdict(honest: Evidence) -> None:
    """Each field of each document in turn is something else; whatever is read is judged."""
    from pydantic import TypeAdapter

    from tactful.errors import InvalidInput
    from tactful.protocol.documents.evidence import Documents

    documents = replace(honest.documents, uploads=(), canaries=(), replay=None)
    plain = json.loads(TypeAdapter(Documents).dump_json(documents))
    read = 0
    for name, kept in plain.items():
        for place, text in enumerate(kept[:2] if isinstance(kept, list) else ()):
            for other in _others(text):
                changed = {**plain, name: [*kept[:place], other, *kept[place + 1 :]]}
                try:
                    shown = replace(
                        honest, documents=parse(json.dumps(changed).encode())
                    )
                except InvalidInput:
                    continue
                read, case = read + 1, AuditCase(shown)
                for check in (
                    one for one in CHEAP if one.id[0] in "FG" or one.id == "B3"
                ):
                    run_check(check, case)
    assert read > 50


def _others(text: object) -> list[object]:
    found: list[object] = [
        None,
        5,
        [],
        {},
        "",
        "[]",
        "{}",
        "5",
        '"x"',
        "null",
        "\u202e",
    ]
    if isinstance(text, str):
        found += [
            text[:-1],
            text + " ",
            text.replace("1", "null"),
            text.replace('"', "'"),
        ]
    return found


def test_the_claim_covers_all_trainings_of_a_model(honest: Evidence) -> None:
    signed = [SignedTask.decode(text.encode()) for text in honest.documents.tasks]
    mine = [one for one in signed if one.task.model == honest.documents.claim.model]
    again = [
        replace(one, task=replace(one.task, opens=one.task.opens + 10**6, expires=1 << 39,
                                  catalog="f" * 64, nonce="1" * 32))
        for one in mine
    ]  # fmt: skip
    log = list(honest.documents.log)
    for one in again:
        log.append(
            transcript.follow(len(log), "task", one.task.document, 1 << 33).encode()
        )
    shown = documented(
        honest,
        tasks=(*honest.documents.tasks, *(one.encode().decode() for one in again)),
        log=tuple(log),
    )
    twice = format_fraction(2 * Fraction(honest.documents.claim.rho))

    assert check_result("A8", shown)[0] is Status.PASSED
    assert check_result("B3", shown)[0] is Status.REFUTED
    assert (
        check_result("B3", claim(lambda told: {"rho": twice})(shown))[0]
        is Status.PASSED
    )
