"""Quotas, and the database that they, keys and usage are kept in."""

from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from router.config.section import Section

_NANO = Decimal(10) ** 9
_MOST = 2**62


class QuotaSettings(Section):
    """A limit for a tenant, a key or a route; windows start anew by the calendar in UTC."""

    unit: Literal["requests", "tokens", "usd"]
    """What is limited."""
    limit: Decimal = Field(ge=0)
    """How much of it in a window; whole numbers, for usd up to 9 decimals."""
    window: Literal["minute", "hour", "day", "month", "total"]
    """When it starts anew; total: never."""
    mode: Literal["hard", "soft", "shadow"] = "hard"
    """hard refuses, soft warns (a header and a line in the log), shadow only counts."""

    @model_validator(mode="after")
    def _whole(self) -> "QuotaSettings":
        if self.limit_amount != self.limit * (_NANO if self.unit == "usd" else 1):
            raise ValueError("limit must be a whole number (for usd: with at most 9 decimals)")
        if self.limit_amount > _MOST:
            raise ValueError(f"limit must be at most {_MOST} (usd: nano-USD)")
        return self

    @property
    def limit_amount(self) -> int:
        """The limit in requests, tokens or nano-USD."""
        return int(self.limit * (_NANO if self.unit == "usd" else 1))


class StoreSettings(Section):
    """The database of tenants, keys, quotas and the ledger."""

    url: str = "sqlite:///embedway.db"
    """sqlite:///FILE, or postgresql://user@host/database with the password elsewhere."""
    url_env: str | None = None
    """Environment variable that holds the address, where it has a password in it."""
    url_file: Path | None = None
    """File that holds the address, where it has a password in it."""
    state: Path = Path(".embedway/state")
    """Folder on a lasting disk of this machine; usage is there until it is in the database."""
    sync_interval_s: float = Field(1.0, ge=0.1, le=3600)
    """Seconds between syncs of the state folder: what a loss of power may take, not a crash."""
    usage_days: float = Field(90, gt=0)
    """Days that single usage records are kept."""
    hourly_days: float = Field(400, gt=0)
    """Days that usage by hour, and windows of quotas that are over, are kept."""
    daily_days: float = Field(3650, gt=0)
    """Days that usage by day is kept."""

    @model_validator(mode="after")
    def _one_source(self) -> "StoreSettings":
        if self.url_env is not None and self.url_file is not None:
            raise ValueError("give one of url_env and url_file")
        return self
