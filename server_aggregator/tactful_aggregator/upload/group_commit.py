"""Uploads are committed in groups: while one commit runs, those that come wait for the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.concurrency import run_in_threadpool

from tactful.protocol.dap.versions import ReportError
from tactful_aggregator.upload.accept import Arrival

GROUP, GROUP_BYTES = 1000, 64 << 20  # the most reports and bytes of one commit

Outcomes = list[ReportError | None]
Commit = Callable[[Sequence[Arrival]], Outcomes]


class GroupCommit:
    """Hands arrivals to `commit`, and to each request its outcomes once they are on the disk."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._waiting: list[tuple[Sequence[Arrival], asyncio.Future[Outcomes]]] = []
        self._running: asyncio.Task[None] | None = None

    async def add(self, arrivals: Sequence[Arrival]) -> Outcomes:
        """Commit these with whatever else waits; raises what the commit raises."""
        done: asyncio.Future[Outcomes] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrivals, done))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await done

    async def _run(self) -> None:
        while self._waiting:
            group = self._group()
            flat = [one for arrivals, _ in group for one in arrivals]
            try:
                outcomes = iter(await run_in_threadpool(self._commit, flat))
            except Exception as refused:
                for _, done in group:
                    if not done.cancelled():
                        done.set_exception(refused)
                continue
            for arrivals, done in group:
                mine = [next(outcomes) for _ in arrivals]
                if not done.cancelled():
                    done.set_result(mine)

    def _group(self) -> list[tuple[Sequence[Arrival], asyncio.Future[Outcomes]]]:
        taken, reports, size = 0, 0, 0
        for arrivals, _ in self._waiting:
            reports += len(arrivals)
            size += sum(len(one.encoded) for one in arrivals)
            if taken and (reports > GROUP or size > GROUP_BYTES):
                break
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return group
