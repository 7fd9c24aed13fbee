"""A Redis or Valkey, spoken to through redis-py; the one file that knows it."""

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from router.domain.errors import CacheUnavailableError, ConfigurationError

# The caller's own time ends a call first; this ends connections that nobody waits for any more.
_SOCKET_TIMEOUT_S = 5.0


class RedisStore:
    """SharedStore over a pool of connections, made as they are needed."""

    def __init__(self, url: str) -> None:
        """Take redis://, rediss:// or unix://; ConfigurationError for another. Calls nobody yet."""
        try:
            self._redis: Redis = Redis.from_url(
                url,
                # Tried again is what the targets are for: a router does not wait for its cache.
                retry=Retry(NoBackoff(), 0),
                # One round trip fewer for each new connection: no HELLO, no CLIENT SETINFO.
                protocol=2,
                driver_info=None,
                socket_timeout=_SOCKET_TIMEOUT_S,
                socket_connect_timeout=_SOCKET_TIMEOUT_S,
                socket_read_size=262_144,
            )
        except ValueError as error:
            raise ConfigurationError("cache.shared.url: is no address of a Redis") from error

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """MGET."""
        try:
            values = await self._redis.mget(keys)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

        if len(values) != len(keys):
            raise CacheUnavailableError("the shared cache answered something else")
        return [value if isinstance(value, bytes) else None for value in values]

    async def write(
        self, new: Mapping[bytes, bytes], instead: Mapping[bytes, bytes], ttl_s: float
    ) -> None:
        """One pipeline of SET … PX, with NX for what is new."""
        life_ms = int(ttl_s * 1000)
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in new.items():
            pipeline.execute_command("SET", key, value, "PX", life_ms, "NX")
        for key, value in instead.items():
            pipeline.execute_command("SET", key, value, "PX", life_ms)
        try:
            await pipeline.execute()
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def append(self, key: bytes, value: bytes, ttl_s: float) -> int:
        """APPEND and PEXPIRE."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.execute_command("APPEND", key, value)
        pipeline.execute_command("PEXPIRE", key, int(ttl_s * 1000))
        try:
            length, _ = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        return int(length)

    async def close(self) -> None:
        """Close all connections, without waiting for anybody."""
        await self._redis.connection_pool.disconnect()


def _unavailable(error: Exception) -> CacheUnavailableError:
    # Its own words may hold an address or a user's name.
    return CacheUnavailableError(f"the shared cache cannot be asked: {type(error).__name__}")
