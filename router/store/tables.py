"""The tables. `migrations/` makes them; a test holds the two together.

Times are seconds since the Unix epoch, money is integer nano-USD. No text of a request is here.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

tenants = Table(
    "tenants",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("tags", Text, nullable=False, server_default="{}"),  # JSON object
    Column("source", String(8), nullable=False),  # file or api
    Column("created_s", Double, nullable=False),
    Column("disabled_s", Double),
    Column("changed_s", Double, nullable=False, index=True),
)

# A rotated key keeps its name: the old row lives until `grace_until_s`, so (tenant, name) may
# stand twice, and what is unique is the hash.
keys = Table(
    "keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("name", String(128), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),  # JSON list
    Column("tags", Text, nullable=False, server_default="{}"),  # JSON object
    Column("source", String(8), nullable=False),  # file or api
    Column("created_s", Double, nullable=False),
    Column("expires_s", Double),
    Column("disabled_s", Double),
    Column("rotated_s", Double),
    Column("grace_until_s", Double),
    Column("changed_s", Double, nullable=False, index=True),
    Index("ix_keys_tenant_name", "tenant", "name"),
)

# What processes that hold keys in memory have to forget, one row a change. `change_counters` has
# the last revision; writers take its row first, so revisions are committed in their order.
key_changes = Table(
    "key_changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("sha256", String(64)),  # a key was made or changed
    Column("tenant", String(128)),  # a tenant was made or changed
)

change_counters = Table(
    "change_counters",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("value", BigInteger, nullable=False, server_default="0"),
)

quotas = Table(
    "quotas",
    metadata,
    Column("id", String(320), primary_key=True),  # domain.quotas.Quota.id
    Column("scope", String(8), nullable=False),  # tenant, key or route
    Column("subject", String(260), nullable=False),  # acme, acme:first or a route's name
    Column("unit", String(8), nullable=False),  # requests, tokens or usd
    Column("limit_amount", BigInteger, nullable=False),  # requests, tokens or nano-USD
    Column("window", String(8), nullable=False),  # minute, hour, day, month or total
    Column("mode", String(8), nullable=False),  # hard, soft or shadow
    Column("changed_s", Double, nullable=False, index=True),
    Column("removed_s", Double),  # kept for a while, so that every process sees that it went
    Index("ix_quotas_scope_subject", "scope", "subject"),
)

# One row a quota and window. For a hard quota spent <= leased <= limit_amount, always.
quota_windows = Table(
    "quota_windows",
    metadata,
    Column("quota", String(320), primary_key=True),
    Column("start_s", BigInteger, primary_key=True),
    Column("end_s", BigInteger),  # null: never ends
    Column("limit_amount", BigInteger, nullable=False),
    Column("leased", BigInteger, nullable=False, server_default="0"),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    # What the last lease got: SET sees the old row only, so this carries it out of the statement.
    Column("last_grant", BigInteger, nullable=False, server_default="0"),
    # When somebody was last refused: for a moment, holders give back what they do not need.
    Column("wanted_s", Double, nullable=False, server_default="0", index=True),
)

# One row a process that holds leases. `position` is how far its spool is in the ledger.
holders = Table(
    "holders",
    metadata,
    Column("holder", String(32), primary_key=True),
    Column("position", BigInteger, nullable=False, server_default="0"),
    Column("seen_s", Double, nullable=False),
)

# `granted` is all that the lease ever got less what it gave back; `spent` what the ledger knows.
leases = Table(
    "leases",
    metadata,
    Column("holder", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("quota", String(320), nullable=False),
    Column("start_s", BigInteger, nullable=False),
    Column("granted", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    Index("ix_leases_quota_start", "quota", "start_s"),
)

usage = Table(
    "usage",
    metadata,
    Column("record", String(64), primary_key=True),  # holder and number: no client chooses it
    Column("request_id", String(128), nullable=False, index=True),
    Column("time_s", Double, nullable=False, index=True),
    Column("tenant", String(128), nullable=False),
    Column("key_name", String(128), nullable=False),
    Column("route", String(128), nullable=False),
    Column("target", String(128), nullable=False),  # empty: none was reached
    Column("space", String(128), nullable=False),
    Column("status", String(32), nullable=False),  # ok, cancelled, lost or an error's code
    Column("inputs", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger),  # null: the target has no price
    Column("cached_tokens", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("latency_us", BigInteger, nullable=False),
    Column("trace_id", String(32), nullable=False),
    Index("ix_usage_tenant_time", "tenant", "time_s"),
)

usage_rollups = Table(
    "usage_rollups",
    metadata,
    Column("period", String(8), primary_key=True),  # hour or day, in UTC
    Column("start_s", BigInteger, primary_key=True),
    Column("tenant", String(128), primary_key=True),
    Column("key_name", String(128), primary_key=True),
    Column("route", String(128), primary_key=True),
    Column("target", String(128), primary_key=True),
    Column("space", String(128), primary_key=True),
    Column("status", String(32), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("inputs", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),  # requests whose cost is not known
    Column("cached_tokens", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("latency_us", BigInteger, nullable=False),
)
