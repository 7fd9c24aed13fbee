"""Quotas that were made through the API or the command line; those of the file are not here."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Row, and_, func, or_, select

from router.domain.quotas import Quota
from router.store.engine import reading, transaction
from router.store.tables import quotas

_ROWS = select(
    quotas.c.scope, quotas.c.subject, quotas.c.unit, quotas.c.limit_amount, quotas.c.window,
    quotas.c.mode,
).where(quotas.c.removed_s.is_(None))  # fmt: skip
# A change may be committed after a later one was seen: look back a little.
_OVERLAP_S = 5.0


class StoredQuotas:
    """The table `quotas`. All raise StoreUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, subjects: Sequence[tuple[str, str]]) -> list[Quota]:
        """Quotas of (scope, subject) pairs; one query, by index."""
        places = [
            and_(quotas.c.scope == scope, quotas.c.subject == subject)
            for scope, subject in subjects
        ]
        with transaction(reading(self._engine)) as connection:
            return [_quota(row) for row in connection.execute(_ROWS.where(or_(*places)))]

    def all(self, after: str = "", most: int = 1000) -> list[Quota]:
        """Quotas by id, a page at a time: those after an id."""
        query = _ROWS.where(quotas.c.id > after).order_by(quotas.c.id).limit(most)
        with transaction(reading(self._engine)) as connection:
            return [_quota(row) for row in connection.execute(query)]

    def changed_since(self, moment_s: float) -> tuple[list[tuple[str, str]], float]:
        """The (scope, subject) pairs whose quotas changed, and when the last one did."""
        query = select(quotas.c.scope, quotas.c.subject, quotas.c.changed_s)
        query = query.where(quotas.c.changed_s > moment_s - _OVERLAP_S)
        with transaction(reading(self._engine)) as connection:
            rows = connection.execute(query).all()
        last_s = max((row.changed_s for row in rows), default=moment_s)
        return [(row.scope, row.subject) for row in rows], last_s

    def last_change_s(self) -> float:
        """When the last change was; 0 where there was none."""
        with transaction(reading(self._engine)) as connection:
            return float(connection.execute(select(func.max(quotas.c.changed_s))).scalar() or 0)

    def put(self, quota: Quota, now_s: float) -> None:
        """Make a quota, or change the limit of the one that there is."""
        values = {
            "id": quota.id, "scope": quota.scope, "subject": quota.subject, "unit": quota.unit,
            "limit_amount": quota.limit, "window": quota.window, "mode": quota.mode,
            "changed_s": now_s, "removed_s": None,
        }  # fmt: skip
        with transaction(self._engine) as connection:
            connection.execute(quotas.delete().where(quotas.c.id == quota.id))
            connection.execute(quotas.insert().values(values))

    def remove(self, quota_id: str, now_s: float) -> bool:
        """Remove a quota; whether there was one."""
        query = quotas.update().where(quotas.c.id == quota_id, quotas.c.removed_s.is_(None))
        with transaction(self._engine) as connection:
            changed = connection.execute(query.values(removed_s=now_s, changed_s=now_s))
            return changed.rowcount == 1


def _quota(row: Row[*tuple[Any, ...]]) -> Quota:
    return Quota(
        scope=row.scope,
        subject=row.subject,
        unit=row.unit,
        limit=row.limit_amount,
        window=row.window,
        mode=row.mode,
    )
