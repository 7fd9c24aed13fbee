"""Spends leases in memory, keeps the spool, and feeds the ledger from it."""
