"""The collector: asks for a batch, waits, opens both halves' sums and adds them."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tactful.errors import BatchTooSmall, CollectionDeleted, ProtocolError
from tactful.protocol.dap import hpke
from tactful.protocol.dap.collect_messages import (
    Collection,
    CollectionReq,
    Interval,
    Query,
    aggregate_share_aad,
)
from tactful.protocol.dap.dap_task import TIME_INTERVAL, DapTask, encoded
from tactful.protocol.dap.messages import HpkeCiphertext, HpkeConfig
from tactful.protocol.dap.report_upload import problem
from tactful.protocol.dap.versions import HELPER, LEADER
from tactful.protocol.transport import Method, Request, Response, Transport

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from tactful.vdaf.field import Elements


@dataclass(frozen=True)
class AggregateResult:
    """What a batch summed to: elements as they were added, over how many reports, and when."""

    total: Elements
    count: int
    interval: Interval


@dataclass(frozen=True)
class Collector:
    """Who may collect a task; `key` opens the sums, `token` is shown to the leader."""

    task: DapTask
    config_id: int
    key: X25519PrivateKey = field(repr=False)
    token: str = field(repr=False)

    @property
    def config(self) -> HpkeConfig:
        """What both halves seal their sums to."""
        return HpkeConfig(self.config_id, self.key.public_key().public_bytes_raw())

    def everything(self) -> Query:
        """The query for all that the task will ever hold."""
        task = self.task
        if task.mode != TIME_INTERVAL:
            return Query(None)
        unit = task.time_precision
        last = -(-task.expires // unit) * unit
        first = task.wire_time(task.opens)
        return Query(Interval(first, task.wire_time(last) - first))

    def create(self, transport: Transport, query: Query) -> str:
        """Begin a collection; the address of the job. The same query again is the same job.

        So a request that was lost, or a collector that was, is simply repeated: -18 says so, and
        in -09, where the collector names the job, the name follows from the query.
        """
        base = f"{self.task.leader}/tasks/{self.task.encoded_id}/collection_jobs"
        body = CollectionReq(query).encode(self.task)
        if self.task.dap.counted:
            name = hmac.digest(
                self.key.private_bytes_raw(), self.task.id + body, "sha256"
            )[:16]
            url = f"{base}/{encoded(name)}"
            self._sent(transport, "PUT", url, body)
            return url
        answer = self._sent(transport, "POST", base, body)
        return self.task.leader + answer.header("location")

    def poll(
        self, transport: Transport, job: str, query: Query
    ) -> AggregateResult | float:
        """The sum, or after how many seconds to ask again.

        Raises BatchTooSmall or ProtocolError with the leader's reason, CollectionDeleted for a job
        that was deleted.
        """
        method: Method = "POST" if self.task.dap.counted else "GET"
        answer = self._sent(transport, method, job)
        if answer.status == 204:
            raise CollectionDeleted(
                "collection: its job was deleted; begin another one"
            )
        if not answer.body:
            return float(answer.header("retry-after") or 1)
        return self.open(query, Collection.decode(answer.body, self.task))

    def collect(
        self, transport: Transport, query: Query, wait: Callable[[float], None]
    ) -> AggregateResult:
        """Create, poll and open; `wait` sleeps that many seconds.

        Raises what `poll` raises, as soon as the job can no longer be answered.
        """
        job = self.create(transport, query)
        while isinstance(answer := self.poll(transport, job, query), float):
            wait(answer)
        return answer

    def open(self, query: Query, collection: Collection) -> AggregateResult:
        """The sum of both halves' shares; raises OpenError, DecodeError, BatchTooSmall."""
        self._require_large(collection.count)
        shares = ((LEADER, collection.leader), (HELPER, collection.helper))
        vdaf = self.task.vdaf
        total = vdaf.field.zeros(vdaf.output_length)
        for role, sealed in shares:
            share = vdaf.field.decode(
                self._opened(query, role, sealed), vdaf.output_length
            )
            total = vdaf.field.add(total, share)
        return AggregateResult(total, collection.count, collection.interval)

    def _require_large(self, count: int) -> None:
        if count < self.task.min_batch_size:
            raise BatchTooSmall(f"{count} reports, {self.task.min_batch_size} are due")

    def _opened(self, query: Query, role: int, sealed: HpkeCiphertext) -> bytes:
        info, aad = (
            self.task.dap.aggregate_share_info(role),
            aggregate_share_aad(self.task, query),
        )
        return hpke.open_(self.key, sealed.enc, info, aad, sealed.payload)

    def _sent(
        self, transport: Transport, method: Method, url: str, body: bytes = b""
    ) -> Response:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": self.task.dap.media_type(
                "collect-req", "collection-job-req"
            ),
        }
        answer = transport.send(Request(method, url, body, headers))
        if not answer.ok:
            code, detail = problem(answer)
            raise (BatchTooSmall if code == "invalidBatchSize" else ProtocolError)(
                f"leader: {code}; {detail}"
            )
        return answer
