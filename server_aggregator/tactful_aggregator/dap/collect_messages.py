"""Messages of a collection: between collector and leader, and leader and helper."""

from __future__ import annotations

from dataclasses import dataclass

from tactful.errors import DecodeError
from tactful.protocol.dap.codec import Reader, opaque16, opaque32, u8, u64
from tactful.protocol.dap.dap_task import LEADER_SELECTED, TIME_INTERVAL, DapTask
from tactful.protocol.dap.messages import HpkeCiphertext

CHECKSUM_BYTES = 32
BY_ID, CURRENT = 0, 1  # queries of DAP-09 for a batch of fixed size


@dataclass(frozen=True)
class Interval:
    """A start and a duration, in units of the wire."""

    start: int
    duration: int

    def encode(self) -> bytes:
        """Return the interval as bytes."""
        return u64(self.start) + u64(self.duration)

    @classmethod
    def read(cls, reader: Reader) -> Interval:
        """Return the next interval of a message."""
        return cls(reader.number(8), reader.number(8))


@dataclass(frozen=True)
class Query:
    """A query for a batch: a time interval, or None for the one batch of the leader."""

    interval: Interval | None

    def encode(self, task: DapTask) -> bytes:
        """Return the query as bytes."""
        if self.interval is not None:
            content = self.interval.encode()
        else:
            content = u8(CURRENT) if task.dap.counted else b""
        return u8(task.mode) + (content if task.dap.counted else opaque16(content))

    @classmethod
    def read(cls, reader: Reader, task: DapTask) -> Query:
        """Return the next query; raise DecodeError for another batch mode."""
        reader.choice(1, [task.mode], "batch mode")
        inner = reader if task.dap.counted else reader.inside16("Query")
        interval = Interval.read(inner) if task.mode == TIME_INTERVAL else None
        if interval is None and task.dap.counted:
            kind = inner.choice(1, [BY_ID, CURRENT], "query")
            if kind == BY_ID and inner.take(32) != task.batch_id:
                raise DecodeError("Query: the batch does not exist")
        if not task.dap.counted:
            inner.end()
        return cls(interval)


@dataclass(frozen=True)
class CollectionReq:
    """The request of a collector."""

    query: Query

    def encode(self, task: DapTask) -> bytes:
        """Return the request as bytes."""
        extensions = b"" if task.dap.counted else opaque16(b"")
        return self.query.encode(task) + opaque32(b"") + extensions

    @classmethod
    def read(cls, reader: Reader, task: DapTask) -> CollectionReq:
        """Return the next request of a message."""
        query = Query.read(reader, task)
        reader.nothing32("aggregation parameter")
        if not task.dap.counted:
            reader.nothing16("collection extension")
        return cls(query)

    @classmethod
    def decode(cls, body: bytes, task: DapTask) -> CollectionReq:
        """Return the request in `body`."""
        reader = Reader(body, "CollectionJobReq")
        request = cls.read(reader, task)
        reader.end()
        return request


@dataclass(frozen=True)
class Collection:
    """The response to a collector: report count, time, and an encrypted sum of each."""

    count: int
    interval: Interval
    leader: HpkeCiphertext
    helper: HpkeCiphertext

    def encode(self, task: DapTask) -> bytes:
        """Return the collection as bytes."""
        selector = _partial_selector(task) if task.dap.counted else b""
        head = selector + u64(self.count) + self.interval.encode()
        return head + self.leader.encode() + self.helper.encode()

    @classmethod
    def decode(cls, body: bytes, task: DapTask) -> Collection:
        """Return the collection in `body`."""
        reader = Reader(body, "Collection")
        if task.dap.counted:
            selector = _partial_selector(task)
            if reader.take(len(selector)) != selector:
                raise DecodeError("Collection: it is of another batch")
        count = reader.number(8)
        interval = Interval.read(reader)
        leader = HpkeCiphertext.read(reader)
        helper = HpkeCiphertext.read(reader)
        reader.end()
        return cls(count, interval, leader, helper)


def _partial_selector(task: DapTask) -> bytes:
    return u8(task.mode) + (task.batch_id if task.mode == LEADER_SELECTED else b"")


def encode_selector(task: DapTask, query: Query) -> bytes:
    """Return a BatchSelector, by which the aggregators name a batch to each other."""
    content = task.batch_id if query.interval is None else query.interval.encode()
    return u8(task.mode) + (content if task.dap.counted else opaque16(content))


@dataclass(frozen=True)
class AggregateShareReq:
    """The leader's request for the helper's sum.

    Count and checksum show if both aggregators have the same reports.
    """

    query: Query
    count: int
    checksum: bytes

    def encode(self, task: DapTask) -> bytes:
        """Return the request as bytes; DAP-18 repeats the collector's request in it."""
        selector = encode_selector(task, self.query)
        if task.dap.counted:
            head = selector + opaque32(b"")
        else:
            head = CollectionReq(self.query).encode(task) + selector
        return head + u64(self.count) + self.checksum

    @classmethod
    def decode(cls, body: bytes, task: DapTask) -> AggregateShareReq:
        """Return the request in `body`; raise DecodeError if it names two batches."""
        reader = Reader(body, "AggregateShareReq")
        query = cls._read_query(reader, task)
        request = cls(query, reader.number(8), reader.take(CHECKSUM_BYTES))
        reader.end()
        return request

    @classmethod
    def _read_query(cls, reader: Reader, task: DapTask) -> Query:
        collector_query = None
        if not task.dap.counted:
            collector_query = CollectionReq.read(reader, task).query
        reader.choice(1, [task.mode], "batch mode")
        inner = reader if task.dap.counted else reader.inside16("BatchSelector")
        if task.mode == TIME_INTERVAL:
            query = Query(Interval.read(inner))
        elif inner.take(32) == task.batch_id:
            query = Query(None)
        else:
            raise DecodeError("BatchSelector: the batch does not exist")
        if task.dap.counted:
            inner.nothing32("aggregation parameter")
        else:
            inner.end()
        if collector_query not in (None, query):
            raise DecodeError("AggregateShareReq: it names two batches")
        return query


def decode_aggregate_share(body: bytes) -> HpkeCiphertext:
    """Return the helper's encrypted sum."""
    reader = Reader(body, "AggregateShare")
    share = HpkeCiphertext.read(reader)
    reader.end()
    return share


def aggregate_share_aad(task: DapTask, query: Query) -> bytes:
    """Return the associated data of an encrypted sum."""
    if task.dap.counted:
        return task.id + opaque32(b"") + encode_selector(task, query)
    return task.id + task.configuration + CollectionReq(query).encode(task)
