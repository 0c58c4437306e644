"""Sessions in Redis or Valkey: the only place of the library that knows the driver."""

from sessionstore.sessions.redis.store import RedisStore

__all__ = ["RedisStore"]
