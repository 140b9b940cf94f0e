"""Group commits: while one commit runs, arriving uploads wait and share the next commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.concurrency import run_in_threadpool

from tactful.protocol.dap.versions import ReportError
from tactful_aggregator.upload.accept import UploadedReport

# Most reports and bytes of one commit.
GROUP_REPORTS, GROUP_BYTES = 1000, 64 << 20

Outcomes = list[ReportError | None]
Commit = Callable[[Sequence[UploadedReport]], Outcomes]
WaitingRequest = tuple[Sequence[UploadedReport], asyncio.Future[Outcomes]]


class GroupCommit:
    """A queue of upload requests that passes groups to `commit` and returns the outcomes."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._waiting: list[WaitingRequest] = []
        self._running: asyncio.Task[None] | None = None

    async def add(self, uploads: Sequence[UploadedReport]) -> Outcomes:
        """Commit uploads with others that wait; raises what the commit raises."""
        outcomes: asyncio.Future[Outcomes] = asyncio.get_running_loop().create_future()
        self._waiting.append((uploads, outcomes))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await outcomes

    async def _run(self) -> None:
        while self._waiting:
            group = self._next_group()
            all_uploads = [upload for uploads, _ in group for upload in uploads]
            try:
                outcomes = await run_in_threadpool(self._commit, all_uploads)
            except Exception as error:
                _fail(group, error)
            else:
                _resolve(group, outcomes)

    def _next_group(self) -> list[WaitingRequest]:
        """Remove the requests of the next commit from the queue, at least one."""
        requests, reports, size = 0, 0, 0
        for uploads, _ in self._waiting:
            reports += len(uploads)
            size += sum(len(upload.encoded) for upload in uploads)
            if requests and (reports > GROUP_REPORTS or size > GROUP_BYTES):
                break
            requests += 1
        group = self._waiting[:requests]
        self._waiting = self._waiting[requests:]
        return group


def _fail(group: Sequence[WaitingRequest], error: Exception) -> None:
    for _, future in group:
        if not future.cancelled():
            future.set_exception(error)


def _resolve(group: Sequence[WaitingRequest], outcomes: Outcomes) -> None:
    start = 0
    for uploads, future in group:
        end = start + len(uploads)
        if not future.cancelled():
            future.set_result(outcomes[start:end])
        start = end
