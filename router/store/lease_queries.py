"""The queries of `leases.py`. They read their batch from the JSON list `:batch` (`{each}`)."""

# Of what is left, a process takes at most this part ahead of need: the nearer the end, the less.
_SHARE = 8

_ASKS = """
  SELECT CAST(e.value ->> 0 AS BIGINT) AS number, e.value ->> 1 AS quota,
         CAST(e.value ->> 2 AS BIGINT) AS start_s, CAST(e.value ->> 3 AS BIGINT) AS end_s,
         CAST(e.value ->> 4 AS BIGINT) AS most, CAST(e.value ->> 5 AS BIGINT) AS need,
         CAST(e.value ->> 6 AS BIGINT) AS firm, CAST(e.value ->> 7 AS BIGINT) AS extra
  FROM {each} AS e"""

OPEN_WINDOWS = f"""
INSERT INTO quota_windows (quota, start_s, end_s, limit_amount)
SELECT quota, start_s, end_s, most FROM ({_ASKS}) AS a WHERE true ORDER BY quota, start_s
ON CONFLICT (quota, start_s) DO NOTHING"""

# The formula of Ask: SET sees the row as it was, so `last_grant` tells what was granted.
_GRANT = """
  CASE WHEN quota_windows.leased + a.firm > a.most THEN a.most - quota_windows.leased
       WHEN quota_windows.wanted_s > :news_s THEN a.firm
       WHEN a.extra * {share} <= a.most - quota_windows.leased - a.firm THEN a.firm + a.extra
       ELSE a.firm + (a.most - quota_windows.leased - a.firm) / {share} END""".replace(
    "{share}", str(_SHARE)
)

TAKE = f"""
UPDATE quota_windows
SET limit_amount = a.most, leased = quota_windows.leased + {_GRANT}, last_grant = {_GRANT}
FROM ({_ASKS}) AS a
WHERE quota_windows.quota = a.quota AND quota_windows.start_s = a.start_s
  AND quota_windows.leased + a.need <= a.most
RETURNING quota_windows.quota, quota_windows.start_s, quota_windows.leased,
          quota_windows.last_grant"""

HOLD = """
INSERT INTO leases (holder, number, quota, start_s, granted)
SELECT :holder, CAST(e.value ->> 0 AS BIGINT), e.value ->> 1, CAST(e.value ->> 2 AS BIGINT),
       CAST(e.value ->> 3 AS BIGINT)
FROM {each} AS e WHERE true
ON CONFLICT (holder, number) DO UPDATE SET granted = leases.granted + excluded.granted"""

REFUSED = f"""
UPDATE quota_windows SET wanted_s = :now_s, limit_amount = a.most
FROM ({_ASKS}) AS a WHERE quota_windows.quota = a.quota AND quota_windows.start_s = a.start_s
RETURNING quota_windows.quota, quota_windows.start_s, quota_windows.leased"""

ELSEWHERE = f"""
SELECT l.quota, l.start_s, SUM(l.granted - l.spent) AS amount
FROM ({_ASKS}) AS a JOIN leases AS l ON l.quota = a.quota AND l.start_s = a.start_s
WHERE NOT (l.holder = :holder AND l.number = a.number) GROUP BY l.quota, l.start_s"""

LOCK_WINDOWS = f"""
SELECT 1 FROM quota_windows AS w JOIN ({_ASKS}) AS a ON w.quota = a.quota AND w.start_s = a.start_s
ORDER BY w.quota, w.start_s FOR UPDATE OF w"""

_KEEPS = """
  SELECT CAST(e.value ->> 0 AS BIGINT) AS number, CAST(e.value ->> 1 AS BIGINT) AS keep
  FROM {each} AS e"""

LOCK_KEPT = f"""
SELECT 1 FROM quota_windows AS w
JOIN leases AS l ON l.quota = w.quota AND l.start_s = w.start_s
JOIN ({_KEEPS}) AS k ON l.holder = :holder AND l.number = k.number
ORDER BY w.quota, w.start_s FOR UPDATE OF w"""

# Absolute, so that it also puts right a grant whose answer was lost, and may be repeated.
GIVE_BACK = f"""
UPDATE quota_windows AS w SET leased = w.leased - d.amount
FROM (SELECT l.quota, l.start_s, SUM(l.granted - k.keep) AS amount
      FROM ({_KEEPS}) AS k JOIN leases AS l ON l.holder = :holder AND l.number = k.number
      GROUP BY l.quota, l.start_s) AS d
WHERE w.quota = d.quota AND w.start_s = d.start_s"""

KEEP = f"""
UPDATE leases SET granted = k.keep FROM ({_KEEPS}) AS k
WHERE leases.holder = :holder AND leases.number = k.number"""

# A lease that is closed goes once the ledger has all that was spent of it.
FORGET = f"""
DELETE FROM leases WHERE holder = :holder AND granted = spent
AND number IN (SELECT k.number FROM ({_KEEPS}) AS k) RETURNING number"""

LOCK_OF_HOLDER = """
SELECT 1 FROM quota_windows AS w JOIN leases AS l ON l.quota = w.quota AND l.start_s = w.start_s
WHERE l.holder = :holder ORDER BY w.quota, w.start_s FOR UPDATE OF w"""

BURY = """
UPDATE quota_windows AS w SET leased = w.leased - d.amount
FROM (SELECT quota, start_s, SUM(granted - spent) AS amount
      FROM leases WHERE holder = :holder GROUP BY quota, start_s) AS d
WHERE w.quota = d.quota AND w.start_s = d.start_s"""
