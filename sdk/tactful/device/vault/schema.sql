-- vault: whose file this is; how to tell a wrong key; and the sealed head, which pins all the rest.
create table vault (
    one integer primary key check (one = 1),
    id blob not null,
    key_check blob not null,
    head blob not null
);
-- record: what happened, once, in order; kind and body are inside `sealed`. What only the profile may
-- read is inside `taste`, and `sealed` is an empty seal: so all else is read without touching it.
create table record (
    position integer primary key,
    sealed blob not null,
    taste blob,
    name blob
);
-- record_name: so that telling the same thing twice keeps it once; names are blind (HMAC).
create unique index record_name on record (name) where name is not null;
-- erased: ranges of positions whose records were destroyed on purpose, sealed, so that a cut is told from an erasure.
create table erased (
    first integer primary key,
    last integer not null,
    sealed blob not null
);
-- cell: caches that may be written over (checkpoints); rebuildable from the records.
create table cell (
    name blob primary key,
    sealed blob not null
);
