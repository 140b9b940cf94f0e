"""Does a task's noise keep what its training claims? Device and halves ask the same question."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from tactful.errors import InvalidInput, TaskRejected

if TYPE_CHECKING:
    from tactful.privacy.mechanism import Family
    from tactful.protocol.documents.task import Task

GRACE = 1 + 1e-9  # for the float between epsilon and rho


def require_kept(task: Task, earlier: Sequence[Task] = ()) -> None:
    """Raise TaskRejected unless the `earlier` rounds and `task` cost no more than is claimed.

    A device knows one round; whoever signs knows them all.
    """
    from tactful.privacy.calibration import largest_rho

    try:
        asked = (
            sum((one.release.rho for one in earlier), Fraction(0)) + task.release.rho
        )
        allowed = largest_rho(task.epsilon, task.delta, _weakest(task, earlier))
    except InvalidInput as wrong:
        raise TaskRejected(f"task.{wrong}") from wrong
    if float(asked) > allowed * GRACE:
        raise TaskRejected(
            f"task.sigma2: too little noise; rho {float(asked):.6g} of a "
            f"training that claims epsilon {task.epsilon} allows {allowed:.6g}"
        )


def _weakest(task: Task, earlier: Sequence[Task]) -> Family:
    """Return the family whose curve holds for all rounds: one discrete round leaves only rho."""
    gaussian = all(one.family == "rounded_gaussian" for one in (*earlier, task))
    return "rounded_gaussian" if gaussian else "discrete_gaussian"
