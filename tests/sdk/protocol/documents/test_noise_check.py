"""Noise of the device's own: inside the proved range, taken off in the mean, never claimed away."""

import base64
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device.network.model_updates import ModelUpdates
from tactful.device.settings import Aggregators
from tactful.errors import TaskRejected
from tactful.privacy import discrete_gaussian
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.protocol.documents.noise_check import require_kept
from tactful.protocol.documents.task import SIGNED_AS, SignedTask, Task
from tactful.protocol.transport import Request, Response

from .test_task import HELPER, KEYS, LEADER, NOW, TASK, document

LOCAL = replace(
    TASK, rounds=1, placement="local", family="discrete_gaussian", sigma2="4000/1"
)
SHARED = replace(LOCAL, placement="devices", honest=50, sigma2="80/1")
ON_DEVICE = [LOCAL, SHARED]


def priced(task: Task) -> Task:
    """The task with just as much noise as its claim needs."""
    from tactful.privacy.calibration import noise_for
    from tactful.privacy.mechanism import format_fraction

    family, sigma2 = noise_for(
        task.where,
        norm_bound=task.norm_bound,
        dimension=task.encoding.padded,
        epsilon=task.epsilon,
        delta=task.delta,
        share=1.0,
        honest=task.honest,
    )
    return replace(task, family=family, sigma2=format_fraction(sigma2))


@given(
    task=st.sampled_from(ON_DEVICE),
    protocol=st.sampled_from(["dap-09", "dap-18"]),
    level=st.sampled_from([0, 7, 14]),
    byte=st.sampled_from([b"\0", b"\xff"]),
    levels=st.sampled_from([14, 30, 62]),
)
def test_the_widest_draw_fits_the_proved_range(
    task: Task, protocol: str, level: int, byte: bytes, levels: int
) -> None:
    """So nothing is cut or wrapped, and the noise has the law that is accounted, exactly."""
    task = replace(task, protocol=protocol, levels=levels)
    row = np.full(task.encoding.padded, level, dtype=np.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            discrete_gaussian.secrets, "token_bytes", lambda count: byte * count
        )
        measured = task.measurement(row)

    moved = measured - level - task.reach
    assert (np.abs(moved) > 13 * np.sqrt(float(Fraction(task.sigma2)))).all()
    assert 0 <= measured.min() <= measured.max() <= task.most <= task.vdaf_config.most


@pytest.mark.parametrize("task", ON_DEVICE, ids=["local", "devices"])
def test_noise_on_the_device_has_the_declared_law(task: Task) -> None:
    """The variance of 256 times 100 draws, 6 sigmas: a false alarm once in 10^9."""
    row = np.full(task.encoding.padded, 7, dtype=np.uint8)

    drawn = np.array([task.measurement(row) - task.zero for _ in range(100)])

    law = NoiseTable.of("discrete_gaussian", Fraction(task.sigma2)).variance
    assert drawn.var() == pytest.approx(float(law), rel=6 * np.sqrt(2 / drawn.size))
    assert abs(drawn.mean()) < 6 * np.sqrt(float(law) / drawn.size)
    assert len({one.tobytes() for one in drawn}) == 100
    assert task.noise_variance(100) == 100 * Fraction(task.sigma2)


@pytest.mark.parametrize("task", [*ON_DEVICE, replace(TASK, vdaf="pine64"), TASK])
def test_what_is_decoded_is_what_was_measured_but_for_noise(task: Task) -> None:
    rows = np.arange(4 * task.encoding.padded).reshape(4, -1) % 15
    total = sum(task.measurement(row) for row in rows) - 4 * task.zero
    noise = total - (rows - 7).sum(axis=0)

    found = task.decode(total + 4 * task.zero, 4)

    assert found == pytest.approx(task.encoding.decode(rows.sum(axis=0) + noise, 4))
    assert task.where.on_device == bool(np.abs(noise).max())


CRIMES = {
    "a norm proved of noise": ("vdaf", {"placement": "local", "vdaf": "pine64"}),
    "shares that count on nobody": ("honest", {"placement": "devices", "honest": 0}),
    "shares that count on more than a batch": (
        "honest",
        {"placement": "devices", "honest": 101},
    ),
    "honest devices where halves add the noise": ("honest", {"honest": 5}),
    "an unknown placement": ("placement", {"placement": "nobody"}),
    "no nonce": ("nonce", {"nonce": ...}),
    "a short nonce": ("nonce", {"nonce": "ab"}),
}


@pytest.mark.parametrize(("field", "changes"), CRIMES.values(), ids=CRIMES)
def test_a_task_that_cannot_be_is_refused_by_name(
    field: str, changes: dict[str, object]
) -> None:
    with pytest.raises(TaskRejected, match=rf"^task\.{field}"):
        Task.parse(document(**changes))


def test_two_tasks_that_differ_in_nothing_but_their_nonce_are_two() -> None:
    other = replace(TASK, nonce="1" * 32)

    assert TASK.id != other.id
    assert TASK.dap.batch_id != other.dap.batch_id


class Published:
    """A leader that publishes one task, and nothing else."""

    def __init__(self, task: Task) -> None:
        message = SIGNED_AS + task.document
        keys = {"leader": LEADER, "helper": HELPER}
        self._task = SignedTask(
            task, {role: key.sign(message) for role, key in keys.items()}
        )

    def send(self, request: Request) -> Response:
        return Response(200, self._task.encode(), {})


def feed(task: Task, placement: str) -> ModelUpdates:
    leader_key, helper_key = (base64.b64encode(key).decode() for key in KEYS)
    pair = Aggregators(
        model=task.model,
        leader=task.leader,
        helper=task.helper,
        leader_key=leader_key,
        helper_key=helper_key,
        placement=placement,
    )
    return ModelUpdates(pair, Published(task), min_batch_size=1)


@pytest.mark.parametrize("task", [replace(TASK, rounds=1), *ON_DEVICE])
def test_a_device_refuses_a_task_that_claims_less_than_it_costs(task: Task) -> None:
    honest = priced(task)
    assert feed(honest, task.placement).open_round(NOW).task == honest
    weaker = replace(honest, epsilon=honest.epsilon * 0.99)

    with pytest.raises(TaskRejected, match=r"^task\.sigma2: .*too little noise"):
        feed(weaker, task.placement).open_round(NOW)


def test_a_device_refuses_shares_that_count_on_more_honest_devices_than_their_noise() -> (
    None
):
    honest = priced(SHARED)

    for fewer in (honest.honest - 1, honest.honest // 2):
        with pytest.raises(TaskRejected, match=r"^task\.sigma2: .*too little noise"):
            require_kept(replace(honest, honest=fewer))


@pytest.mark.parametrize("promised", ["aggregator", "devices", "local"])
@pytest.mark.parametrize("task", [replace(TASK, rounds=1), *ON_DEVICE])
def test_a_device_takes_noise_from_where_its_person_was_promised(
    task: Task, promised: str
) -> None:
    task = priced(task)
    if promised == task.placement:
        assert feed(task, promised).open_round(NOW).task == task
    else:
        with pytest.raises(TaskRejected, match=r"^task\.placement: "):
            feed(task, promised).open_round(NOW)
