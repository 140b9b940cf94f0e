"""The check that a task has enough noise for the claim of its training.

Devices and aggregators make the same check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tactful.errors import InvalidInput, TaskRejected

if TYPE_CHECKING:
    from tactful.privacy.mechanism import Family
    from tactful.protocol.documents.task import Task

TOLERANCE = 1 + 1e-9  # for rounding between epsilon and rho


def require_kept(task: Task, earlier: Sequence[Task] = ()) -> None:
    """Raise TaskRejected if the `earlier` rounds and `task` cost more than is claimed.

    A device knows one round; an aggregator that signs knows all.
    """
    from tactful.privacy.calibration import largest_rho

    try:
        cost = task.release.rho
        for earlier_task in earlier:
            cost += earlier_task.release.rho
        allowed = largest_rho(task.epsilon, task.delta, _weakest(task, earlier))
    except InvalidInput as error:
        raise TaskRejected(f"task.{error}") from error
    if float(cost) > allowed * TOLERANCE:
        raise TaskRejected(
            f"task.sigma2: it is too little noise; the rounds cost rho "
            f"{float(cost):.6g}, and epsilon {task.epsilon} allows {allowed:.6g}"
        )


def _weakest(task: Task, earlier: Sequence[Task]) -> Family:
    """Return the noise family whose accounting is valid for all rounds.

    With one discrete round, only rho can be used.
    """
    tasks = (*earlier, task)
    if all(task.family == "rounded_gaussian" for task in tasks):
        return "rounded_gaussian"
    return "discrete_gaussian"
