"""What a collector asks for and gets, and what the halves say to each other about a batch."""

from __future__ import annotations

from dataclasses import dataclass

from tactful.errors import DecodeError
from tactful.protocol.dap.codec import Reader, opaque16, opaque32, u8, u64
from tactful.protocol.dap.dap_task import LEADER_SELECTED, TIME_INTERVAL, DapTask
from tactful.protocol.dap.messages import HpkeCiphertext

CHECKSUM_BYTES = 32
BY_ID, CURRENT = 0, 1  # -09's queries for a batch of fixed size


@dataclass(frozen=True)
class Interval:
    """A start and a duration as they travel."""

    start: int
    duration: int

    def encode(self) -> bytes:
        """The interval as it travels."""
        return u64(self.start) + u64(self.duration)

    @classmethod
    def read(cls, reader: Reader) -> Interval:
        """The next interval of a message."""
        return cls(reader.number(8), reader.number(8))


@dataclass(frozen=True)
class Query:
    """Which batch: an interval of time, or (None) the one batch that the leader chose."""

    interval: Interval | None

    def encode(self, task: DapTask) -> bytes:
        """The query as it travels."""
        if self.interval is not None:
            inside = self.interval.encode()
        else:
            inside = u8(CURRENT) if task.dap.counted else b""
        return u8(task.mode) + (inside if task.dap.counted else opaque16(inside))

    @classmethod
    def read(cls, reader: Reader, task: DapTask) -> Query:
        """The next query; raises DecodeError for another batch mode than the task's."""
        reader.choice(1, [task.mode], "batch mode")
        inner = reader if task.dap.counted else reader.inside16("Query")
        interval = Interval.read(inner) if task.mode == TIME_INTERVAL else None
        if interval is None and task.dap.counted:
            kind = inner.choice(1, [BY_ID, CURRENT], "query")
            if kind == BY_ID and inner.take(32) != task.batch_id:
                raise DecodeError("Query: no such batch")
        if not task.dap.counted:
            inner.end()
        return cls(interval)


@dataclass(frozen=True)
class CollectionReq:
    """A collector's request."""

    query: Query

    def encode(self, task: DapTask) -> bytes:
        """The request as it travels."""
        extensions = b"" if task.dap.counted else opaque16(b"")
        return self.query.encode(task) + opaque32(b"") + extensions

    @classmethod
    def read(cls, reader: Reader, task: DapTask) -> CollectionReq:
        """The next request of a message."""
        query = Query.read(reader, task)
        reader.nothing32("aggregation parameter")
        if not task.dap.counted:
            reader.nothing16("collection extension")
        return cls(query)

    @classmethod
    def decode(cls, body: bytes, task: DapTask) -> CollectionReq:
        """The request in `body`."""
        reader = Reader(body, "CollectionJobReq")
        request = cls.read(reader, task)
        reader.end()
        return request


@dataclass(frozen=True)
class Collection:
    """What a collector gets: how many reports, over which time, and a sealed sum of each half."""

    count: int
    interval: Interval
    leader: HpkeCiphertext
    helper: HpkeCiphertext

    def encode(self, task: DapTask) -> bytes:
        """The collection as it travels."""
        selector = _partial(task) if task.dap.counted else b""
        head = selector + u64(self.count) + self.interval.encode()
        return head + self.leader.encode() + self.helper.encode()

    @classmethod
    def decode(cls, body: bytes, task: DapTask) -> Collection:
        """The collection in `body`."""
        reader = Reader(body, "Collection")
        if task.dap.counted and reader.take(len(_partial(task))) != _partial(task):
            raise DecodeError("Collection: of another batch")
        count, interval = reader.number(8), Interval.read(reader)
        collection = cls(
            count, interval, HpkeCiphertext.read(reader), HpkeCiphertext.read(reader)
        )
        reader.end()
        return collection


def _partial(task: DapTask) -> bytes:
    return u8(task.mode) + (task.batch_id if task.mode == LEADER_SELECTED else b"")


def encode_selector(task: DapTask, query: Query) -> bytes:
    """BatchSelector: the batch itself, as the halves name it to each other."""
    inside = task.batch_id if query.interval is None else query.interval.encode()
    return u8(task.mode) + (inside if task.dap.counted else opaque16(inside))


@dataclass(frozen=True)
class AggregateShareReq:
    """The leader's request for the helper's sum: both must hold the same reports."""

    query: Query
    count: int
    checksum: bytes

    def encode(self, task: DapTask) -> bytes:
        """The request as it travels; -18 repeats the collector's request in it."""
        if task.dap.counted:
            head = encode_selector(task, self.query) + opaque32(b"")
        else:
            asked = CollectionReq(self.query)
            head = asked.encode(task) + encode_selector(task, self.query)
        return head + u64(self.count) + self.checksum

    @classmethod
    def decode(cls, body: bytes, task: DapTask) -> AggregateShareReq:
        """The request in `body`; raises DecodeError if it names two batches."""
        reader = Reader(body, "AggregateShareReq")
        query = cls._query(reader, task)
        request = cls(query, reader.number(8), reader.take(CHECKSUM_BYTES))
        reader.end()
        return request

    @classmethod
    def _query(cls, reader: Reader, task: DapTask) -> Query:
        asked = None if task.dap.counted else CollectionReq.read(reader, task).query
        reader.choice(1, [task.mode], "batch mode")
        inner = reader if task.dap.counted else reader.inside16("BatchSelector")
        if task.mode == TIME_INTERVAL:
            query = Query(Interval.read(inner))
        elif inner.take(32) == task.batch_id:
            query = Query(None)
        else:
            raise DecodeError("BatchSelector: no such batch")
        if task.dap.counted:
            inner.nothing32("aggregation parameter")
        else:
            inner.end()
        if asked not in (None, query):
            raise DecodeError("AggregateShareReq: it names two batches")
        return query


def decode_aggregate_share(body: bytes) -> HpkeCiphertext:
    """The helper's sealed sum."""
    reader = Reader(body, "AggregateShare")
    share = HpkeCiphertext.read(reader)
    reader.end()
    return share


def aggregate_share_aad(task: DapTask, query: Query) -> bytes:
    """What a sealed sum is bound to."""
    if task.dap.counted:
        return task.id + opaque32(b"") + encode_selector(task, query)
    return task.id + task.configuration + CollectionReq(query).encode(task)
