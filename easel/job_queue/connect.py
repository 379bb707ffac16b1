"""Redis clients: one that fails fast for the doors, one that waits for the workers."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from easel.server import embedded
from easel.settings import Settings

REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)


@contextmanager
def redis_of(settings: Settings) -> Iterator[str]:
    """Lend the address of the configured Redis, else of the embedded server, which runs as long as anybody uses it."""
    if settings.redis_url is not None:
        yield settings.redis_url.get_secret_value()
    else:
        with embedded(settings.data_dir) as url:
            yield url


def impatient(url: str) -> "Redis":
    """Connect for a door: a person waits, so a Redis that is away is told within a second or so."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=0.5, socket_timeout=1.2)


def patient(url: str) -> "Redis":
    """Connect for a worker: a finished picture outlives an outage of Redis of about an hour."""
    # The pause grows to 2 s; 1,800 tries are an hour. Blocking reads stay below 10 s, so 15 s means "hung".
    return Redis.from_url(
        url, retry=Retry(ExponentialBackoff(cap=2, base=0.05), 1800), socket_connect_timeout=3, socket_timeout=15
    )
