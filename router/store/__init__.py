"""SQL: tenants, keys, quotas, leases and the ledger, on SQLite and PostgreSQL; and the spool."""
