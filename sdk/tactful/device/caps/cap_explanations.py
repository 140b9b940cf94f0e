"""Explanations of cap decisions; nothing is written or reserved."""

from __future__ import annotations

from tactful.device.caps.core import CapCore
from tactful.device.caps.deciding.explain_denial import RuleDenial
from tactful.device.caps.deciding.remaining import DecisionContext
from tactful.device.caps.deciding.results import Denial
from tactful.device.caps.deciding.rule_evaluator import Allowance, RuleEvaluator
from tactful.device.caps.rules.subject import CapSubject, Showable


class CapExplanations:
    """Why an item is denied now or later, and what each rule has left."""

    def __init__(self, core: CapCore) -> None:
        self._core = core

    def why_not(self, item: Showable, surface: str) -> tuple[Denial, ...]:
        """Return every reason why `item` is denied now; empty if it is allowed."""
        return self.simulate(item, surface, ahead_ms=0)

    def simulate(
        self, item: Showable, surface: str, *, ahead_ms: int
    ) -> tuple[Denial, ...]:
        """Return every reason why `item` is denied `ahead_ms` from now.

        It assumes that nothing else happens until then.
        """
        core = self._core
        core.require_surface(surface)
        with core.session.read() as (state, now):
            context = core.context(state, now, surface, ahead_ms)
            evaluator = RuleEvaluator(state, context)
            cap_subject = CapSubject.of(item)
            denials = [
                *evaluator.denials(cap_subject),
                *evaluator.every_nth_denials(cap_subject),
            ]
            return tuple(self._denial(item.id, denial, context) for denial in denials)

    def headroom(self, item: Showable, surface: str) -> tuple[Allowance, ...]:
        """Return what each rule has used and left for `item`."""
        core = self._core
        core.require_surface(surface)
        with core.session.read() as (state, now):
            evaluator = RuleEvaluator(state, core.context(state, now, surface))
            return tuple(evaluator.allowances(CapSubject.of(item)))

    def _denial(
        self, item_id: str, denial: RuleDenial, context: DecisionContext
    ) -> Denial:
        now = context.times[denial.timeline(self._core.rules)]
        return Denial.of(item_id, denial, context.wall_ms, now.ms)
