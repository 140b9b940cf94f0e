"""The collector: it requests a batch, decrypts the sums of both aggregators, adds them."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tactful.errors import BatchTooSmall, CollectionDeleted, ProtocolError
from tactful.protocol.dap import hpke
from tactful.protocol.dap.dap_task import TIME_INTERVAL, DapTask, encoded
from tactful.protocol.dap.messages import HpkeCiphertext, HpkeConfig
from tactful.protocol.dap.report_upload import problem
from tactful.protocol.dap.versions import HELPER, LEADER
from tactful.protocol.transport import Method, Request, Response, Transport
from tactful_aggregator.dap.collect_messages import (
    Collection,
    CollectionReq,
    Interval,
    Query,
    aggregate_share_aad,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from tactful.vdaf.field import Elements


@dataclass(frozen=True)
class AggregateResult:
    """The sum of a batch in field elements, its number of reports, and its interval."""

    total: Elements
    count: int
    interval: Interval


@dataclass(frozen=True)
class Collector:
    """The collector of one task.

    `key` decrypts the sums; `token` authenticates the collector to the leader.
    """

    task: DapTask
    config_id: int
    key: X25519PrivateKey = field(repr=False)
    token: str = field(repr=False)

    @property
    def config(self) -> HpkeConfig:
        """The HPKE config that both aggregators encrypt their sums to."""
        return HpkeConfig(self.config_id, self.key.public_key().public_bytes_raw())

    def everything(self) -> Query:
        """Return the query for all reports of the task."""
        task = self.task
        if task.mode != TIME_INTERVAL:
            return Query(None)
        unit = task.time_precision
        last = -(-task.expires // unit) * unit
        first = task.wire_time(task.opens)
        return Query(Interval(first, task.wire_time(last) - first))

    def create(self, transport: Transport, query: Query) -> str:
        """Start a collection and return the address of its job.

        The same query gives the same job, so a request that was lost can be repeated.
        DAP-18 demands it. In DAP-09 the collector names the job, and the name is
        derived from the query.
        """
        base = f"{self.task.leader}/tasks/{self.task.encoded_id}/collection_jobs"
        body = CollectionReq(query).encode(self.task)
        if self.task.dap.counted:
            secret = self.key.private_bytes_raw()
            name = hmac.digest(secret, self.task.id + body, "sha256")[:16]
            url = f"{base}/{encoded(name)}"
            self._send(transport, "PUT", url, body)
            return url
        response = self._send(transport, "POST", base, body)
        return self.task.leader + response.header("location")

    def poll(
        self, transport: Transport, job: str, query: Query
    ) -> AggregateResult | float:
        """Return the sum, or after how many seconds to ask again.

        Raise BatchTooSmall or ProtocolError with the leader's reason, and
        CollectionDeleted for a job that was deleted.
        """
        method: Method = "POST" if self.task.dap.counted else "GET"
        response = self._send(transport, method, job)
        if response.status == 204:
            raise CollectionDeleted(
                "collection: its job was deleted; start another collection"
            )
        if not response.body:
            return float(response.header("retry-after") or 1)
        return self.open(query, Collection.decode(response.body, self.task))

    def collect(
        self, transport: Transport, query: Query, wait: Callable[[float], None]
    ) -> AggregateResult:
        """Return the sum of a batch; `wait` sleeps for that many seconds.

        Raise what `poll` raises, as soon as the job can no longer be answered.
        """
        job = self.create(transport, query)
        while isinstance(answer := self.poll(transport, job, query), float):
            wait(answer)
        return answer

    def open(self, query: Query, collection: Collection) -> AggregateResult:
        """Return the sum of both shares; raise OpenError, DecodeError, BatchTooSmall."""
        self._require_large(collection.count)
        vdaf = self.task.vdaf
        total = vdaf.field.zeros(vdaf.output_length)
        for role, ciphertext in (
            (LEADER, collection.leader),
            (HELPER, collection.helper),
        ):
            plaintext = self._decrypt(query, role, ciphertext)
            share = vdaf.field.decode(plaintext, vdaf.output_length)
            total = vdaf.field.add(total, share)
        return AggregateResult(total, collection.count, collection.interval)

    def _require_large(self, count: int) -> None:
        least = self.task.min_batch_size
        if count < least:
            raise BatchTooSmall(
                f"batch: it has {count} reports, {least} are needed; wait for more"
            )

    def _decrypt(self, query: Query, role: int, ciphertext: HpkeCiphertext) -> bytes:
        info = self.task.dap.aggregate_share_info(role)
        aad = aggregate_share_aad(self.task, query)
        return hpke.open_(self.key, ciphertext.enc, info, aad, ciphertext.payload)

    def _send(
        self, transport: Transport, method: Method, url: str, body: bytes = b""
    ) -> Response:
        media_type = self.task.dap.media_type("collect-req", "collection-job-req")
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": media_type,
        }
        response = transport.send(Request(method, url, body, headers))
        if response.ok:
            return response
        code, detail = problem(response)
        if code == "invalidBatchSize":
            raise BatchTooSmall(f"leader: {code}; {detail}")
        raise ProtocolError(f"leader: {code}; {detail}")
