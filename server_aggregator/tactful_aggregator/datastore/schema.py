"""The tables of one aggregator; a comment above each table gives its purpose."""

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

# States of a task and of a batch.
OPEN, CLOSING, COLLECTED = "open", "closing", "collected"
# States of a report.
WAITING, TAKEN, COUNTED, REFUSED = 0, 1, 2, 3
# States of a job and of a collection; an abandoned training also abandons its tasks.
PENDING, FINISHED = "pending", "finished"
ABANDONED, FAILED = "abandoned", "failed"
# State of a job that the operator must resume.
PARKED = "parked"
# State of a collection that its collector deleted.
DELETED = "deleted"

tables = MetaData()

# Schema version and role, so that an older program does not misread a newer database
# and a helper does not serve the database of a leader.
meta = Table(
    "meta",
    tables,
    Column("name", String, primary_key=True),
    Column("value", String),
)

# HPKE private keys. A retired key still opens shares until no device can have its
# configuration in a cache.
hpke_key = Table(
    "hpke_key",
    tables,
    Column("config_id", Integer, primary_key=True),
    # The epoch: devices refuse a configuration with a lower epoch.
    Column("number", Integer, unique=True),
    Column("private", LargeBinary),
    # Unix seconds; null for the key that is published now.
    Column("expires", BigInteger),
)

# Tasks that this aggregator serves. A task document never changes.
task = Table(
    "task",
    tables,
    Column("id", LargeBinary, primary_key=True),
    Column("number", Integer, unique=True),
    # Empty for a task of the operator, which belongs to no training.
    Column("model", String),
    # The signed task, or the operator's task document.
    Column("body", LargeBinary),
    Column("state", String),
    Column("expires", BigInteger),
)

# Uploaded reports, each only once. The id stays after the body is deleted, so that a
# replay is detected.
report = Table(
    "report",
    tables,
    Column("task_id", LargeBinary, primary_key=True),
    Column("report_id", LargeBinary, primary_key=True),
    # The report's time in units of the time precision; 0 if the task has one batch.
    Column("bucket", BigInteger),
    Column("sha256", LargeBinary),
    # The report itself, or its position in a segment file.
    Column("body", LargeBinary),
    Column("state", Integer),
    Column("job_id", LargeBinary),
    sqlite_with_rowid=True,
)
Index("report_waiting", report.c.task_id, report.c.state, report.c.bucket)
Index("report_job", report.c.job_id)
Index("report_state", report.c.state, report.c.task_id)

# Leases on steps of trainings and experiments, which only one process may run at a time.
step_lock = Table(
    "step_lock",
    tables,
    Column("name", String, primary_key=True),
    # A random token; only the process that knows it may write.
    Column("holder", LargeBinary),
    Column("leased_until", BigInteger),
)

# Aggregation jobs: reports that both aggregators verify together. At the leader a job is
# leased by one worker; at the helper it stores the response for repeated requests.
job = Table(
    "job",
    tables,
    Column("id", LargeBinary, primary_key=True),
    Column("task_id", LargeBinary, index=True),
    Column("state", String),
    # A random token; only the worker that knows it may finish the job.
    Column("lease", LargeBinary),
    Column("leased_until", BigInteger),
    Column("attempts", Integer),
    Column("request_sha256", LargeBinary),
    Column("response", LargeBinary),
)

# Sums without noise, in shards so that workers do not wait for each other. They are
# deleted when the batch is released.
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

# Batches that accept no more reports, with this aggregator's noisy share. The share is
# stored so that a repeated request gets the same noise.
batch = Table(
    "batch",
    tables,
    Column("task_id", LargeBinary, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    # The bucket after the last bucket of the batch.
    Column("last", BigInteger, primary_key=True),
    Column("state", String),
    Column("count", BigInteger),
    Column("checksum", LargeBinary),
    Column("earliest", BigInteger),
    Column("latest", BigInteger),
    # Sealed to the collector.
    Column("share", LargeBinary),
)

# Requests of collectors and their responses.
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

# Noisy sums of the periods of experiments, for their combined results.
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

# Published files (round parameters, models, batch records) under their SHA-256.
file = Table(
    "file",
    tables,
    Column("sha256", String, primary_key=True),
    Column("content", LargeBinary),
)

# The state of each training, so that it continues after a restart.
training = Table(
    "training",
    tables,
    Column("model", String, primary_key=True),
    Column("state", String),
)

# Signed releases of each model.
release = Table(
    "release",
    tables,
    Column("model", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("body", LargeBinary),
)

# The publication log: every published document in order.
transcript = Table(
    "transcript",
    tables,
    Column("number", Integer, primary_key=True),
    Column("entry", String),
)
