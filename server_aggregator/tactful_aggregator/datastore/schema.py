"""The tables of one half; each begins with the reason it exists."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

SCHEMA = 2
OPEN, CLOSING, COLLECTED = (
    "open",
    "closing",
    "collected",
)  # states of a task and a batch
WAITING, TAKEN, COUNTED, REFUSED = 0, 1, 2, 3  # states of a report
PENDING, FINISHED, ABANDONED, FAILED = (
    "pending",
    "finished",
    "abandoned",
    "failed",
)  # of a job
PARKED = "parked"  # of a job that waits for the operator
DELETED = "deleted"  # of a collection

tables = MetaData()
# so that a newer program's file is not misread, and a leader's not served by a helper
meta = Table(
    "meta", tables, Column("name", String, primary_key=True), Column("value", String)
)
# keys that shares were sealed to; an old one opens until nobody can hold its config any more
hpke_key = Table(
    "hpke_key",
    tables,
    Column("config_id", Integer, primary_key=True),
    Column("number", Integer, unique=True),  # its epoch: devices refuse a lower one
    Column("private", LargeBinary),
    Column("expires", BigInteger),  # unix seconds; null for the one that is handed out
)
# what was agreed; a task is never changed
task = Table(
    "task",
    tables,
    Column("id", LargeBinary, primary_key=True),
    Column("number", Integer, unique=True),
    Column("model", String),  # empty for a task that no training made
    Column("body", LargeBinary),  # the signed document, or the operator's file
    Column("state", String),
    Column("expires", BigInteger),
)
# each report once: an id is kept after its body is gone, so that a replay is known
report = Table(
    "report",
    tables,
    Column("task_id", LargeBinary, primary_key=True),
    Column("report_id", LargeBinary, primary_key=True),
    Column(
        "bucket", BigInteger
    ),  # its time in units of the precision; 0 if there is one batch
    Column("sha256", LargeBinary),
    Column("body", LargeBinary),  # or where it stands in a segment
    Column("state", Integer),
    Column("job_id", LargeBinary),
    sqlite_with_rowid=True,
)
Index("report_waiting", report.c.task_id, report.c.state, report.c.bucket)
Index("report_job", report.c.job_id)
Index("report_state", report.c.state, report.c.task_id)
# who takes a step that only one process may take at a time, and until when
step_lock = Table(
    "step_lock",
    tables,
    Column("name", String, primary_key=True),
    Column("holder", LargeBinary),  # the holder's token: only who shows it may write
    Column("leased_until", BigInteger),
)
# which reports the halves take together: leased by one worker, the same answer on every repeat
job = Table(
    "job",
    tables,
    Column("id", LargeBinary, primary_key=True),
    Column("task_id", LargeBinary, index=True),
    Column("state", String),
    Column("lease", LargeBinary),  # the holder's token: only who shows it may finish
    Column("leased_until", BigInteger),
    Column("attempts", Integer),
    Column("request_sha256", LargeBinary),
    Column("response", LargeBinary),
)
# sums without noise, in shards so that workers do not wait for each other; gone once released
partial_sum = Table(
    "partial_sum",
    tables,
    Column("task_id", LargeBinary, primary_key=True),
    Column("bucket", BigInteger, primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("count", BigInteger),
    Column("checksum", LargeBinary),
    Column("total", LargeBinary),
)
# what takes no more reports, and this half's noisy share once drawn: the same bytes each time
batch = Table(
    "batch",
    tables,
    Column("task_id", LargeBinary, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, primary_key=True),  # the bucket after the last one
    Column("state", String),
    Column("count", BigInteger),
    Column("checksum", LargeBinary),
    Column("earliest", BigInteger),
    Column("latest", BigInteger),
    Column("share", LargeBinary),  # sealed to the collector
)
# what a collector asked for, and what it got
collection = Table(
    "collection",
    tables,
    Column("id", LargeBinary, primary_key=True),
    Column("task_id", LargeBinary, primary_key=True),
    Column("request", LargeBinary),
    Column("state", String),
    Column("lease", LargeBinary),
    Column("leased_until", BigInteger),
    Column("attempts", Integer),
    Column("body", LargeBinary),
)
# what each period of an experiment summed to, noise and all
period = Table(
    "period",
    tables,
    Column("task_id", LargeBinary, primary_key=True),
    Column("number", Integer, unique=True),
    Column("model", String),
    Column("people", Integer),
    Column("tau", Float),
    Column("vector", LargeBinary),
)
# guides and models, named by their hash
file = Table(
    "file",
    tables,
    Column("sha256", String, primary_key=True),
    Column("content", LargeBinary),
)
# where the training of each model stands
training = Table(
    "training",
    tables,
    Column("model", String, primary_key=True),
    Column("state", String),
)
# what was published of each model
release = Table(
    "release",
    tables,
    Column("model", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("body", LargeBinary),
)
# everything published, in order, each entry holding the hash of the one before
transcript = Table(
    "transcript",
    tables,
    Column("number", Integer, primary_key=True),
    Column("entry", String),
)
