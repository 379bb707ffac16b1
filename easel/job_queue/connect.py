"""Redis clients: one that fails fast for the doors, one that waits for the workers."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from easel.errors import SettingsError
from easel.server import embedded
from easel.settings import Settings

log = logging.getLogger(__name__)

REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)


@contextmanager
def redis_of(settings: Settings) -> Iterator[str]:
    """Lend the address of the configured Redis, else of the embedded server, which runs as long as anybody uses it.

    Raises SettingsError where the configured one refuses the password; one that is away may come later.
    """
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        _knock(url)
        yield url
    else:
        with embedded(settings.data_dir) as url:
            yield url


def _knock(url: str) -> None:
    # Without this a worker with a wrong password would try for an hour and say nothing.
    with closing(impatient(url)) as connection:
        try:
            connection.ping()
        except AuthenticationError:
            raise SettingsError("REDIS_URL names a Redis that refuses its password: correct one of the two.") from None
        except REDIS_AWAY as error:
            log.warning("Redis does not answer yet: %s", error)


def impatient(url: str) -> "Redis":
    """Connect for a door: a person waits, so a Redis that is away is told within a second or so."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=0.5, socket_timeout=1.2)


def patient(url: str) -> "Redis":
    """Connect for a worker: a finished picture outlives an outage of Redis of about an hour."""
    # The pause grows to 2 s; 1,800 tries are an hour. Blocking reads stay below 10 s, so 15 s means "hung".
    return Redis.from_url(
        url, retry=Retry(ExponentialBackoff(cap=2, base=0.05), 1800), socket_connect_timeout=3, socket_timeout=15
    )
