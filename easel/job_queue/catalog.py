"""The published catalog and what each machine says of its files: signed, packed, bounded, each with a number that tells a change."""

import hashlib
import hmac
import json
import logging
import re
import time
import zlib
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from easel.catalog import ModelCard
from easel.errors import Untrusted
from easel.jobs import Frozen
from easel.model_reports import Reported

log = logging.getLogger(__name__)

HINTS = "easel:catalog:hints"
"""Pub/sub channel that says "look now"; lossy by design, never the only carrier."""
PUBLISHED = "easel:catalog"
GENERATION = "easel:catalog:generation"
OWNER = "easel:catalog:owner"
MACHINES = "easel:machines"

OWNED_S = 5
"""How long a bot that died without a word keeps others from publishing."""
ALIVE_S = 15
"""How long a machine that died without a word is still believed to have its files."""
KEPT_S = 30 * 24 * 3600

MAX_PACKED = 8 * 2**20
MAX_BYTES = 64 * 2**20
"""Unpacked. Ten thousand files are about 5 MB."""
MAX_FILES = 50_000
MAX_MACHINES = 200

_MACHINE = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_MARK = b"E1"
_T = TypeVar("_T", bound=Frozen)


class Published(Frozen):
    """The catalog as one bot sees it."""

    generation: int
    """Rises with every change."""
    machine: str
    """Where it was made."""
    default: str
    cards: tuple[ModelCard, ...]


def pack(kind: str, value: Any, key: bytes) -> bytes:
    """Return `value` as packed and signed JSON; `kind` keeps one thing from passing as another."""
    packed = zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)
    return _MARK + _sign(kind, packed, key) + packed


def unpack(kind: str, data: bytes, key: bytes) -> Any:
    """Return what was packed; raise `Untrusted` for a wrong signature, too many bytes, or no JSON."""
    signature, packed = data[2:34], data[34:]
    if data[:2] != _MARK or len(data) > MAX_PACKED or not hmac.compare_digest(signature, _sign(kind, packed, key)):
        raise Untrusted(f"The {kind} in Redis is not signed with our EASEL_KEY, or comes from another version.")
    try:
        opened = zlib.decompressobj()
        text = opened.decompress(packed, MAX_BYTES)
        if opened.unconsumed_tail:
            raise Untrusted(f"The {kind} in Redis is larger than {MAX_BYTES // 2**20} MiB.")
        return json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise Untrusted(f"The {kind} in Redis is not JSON.") from error


def _sign(kind: str, packed: bytes, key: bytes) -> bytes:
    return hmac.new(key, kind.encode() + b"\n" + packed, hashlib.sha256).digest()


class _Checked(Generic[_T]):
    """Entries in the shape we know; those that stay as they were from one time to the next are not checked again."""

    def __init__(self, model: type[_T], known_by: str) -> None:
        self._model = model
        self._known_by = known_by
        self._last: dict[object, tuple[dict[str, Any], _T]] = {}

    def of(self, entries: Any) -> tuple[_T, ...]:
        """Return the entries that can be used, without fields of a later version."""
        checked: dict[object, tuple[dict[str, Any], _T]] = {}
        for entry in entries[:MAX_FILES] if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(name := entry.get(self._known_by), str):
                place = name, str(entry.get("kind"))
                before, value = self._last.get(place, (None, None))
                if value is None or before != entry:
                    value = self._validated(entry)
                if value is not None:
                    checked[place] = entry, value
        self._last = checked
        return tuple(value for _, value in checked.values())

    def _validated(self, entry: dict[str, Any]) -> _T | None:
        try:
            return self._model.model_validate({name: entry[name] for name in self._model.model_fields if name in entry})
        except ValidationError as error:
            log.debug("left out an entry in Redis: %s", error)
            return None


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


class CatalogBoard:
    """What stands in Redis about models. Every call is a few round trips, and raises RedisError where Redis is away."""

    def __init__(self, connection: "Redis", *, key: bytes) -> None:
        self._connection = connection
        self._key = key
        self._hints: PubSub | None = None
        self._cards = _Checked(ModelCard, "name")
        self._files: dict[str, _Checked[Reported]] = {}

    # -- files of machines

    def report(self, machine: str, files: list[dict[str, Any]]) -> str:
        """Write what files a machine has, and return the number by which it is announced."""
        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        self._connection.set(f"easel:files:{machine}", pack(f"files of {machine}", files, self._key), ex=KEPT_S)
        self.announce(machine, digest)
        self._connection.publish(HINTS, b"files")
        return digest

    def announce(self, machine: str, digest: str) -> bool:
        """Say that a machine is alive and has the files reported under `digest`; False where the report is lost."""
        with self._connection.pipeline() as pipe:
            pipe.sadd(MACHINES, machine)
            pipe.set(f"easel:machine:{machine}", digest, ex=ALIVE_S)
            pipe.expire(f"easel:files:{machine}", KEPT_S)
            return bool(pipe.execute()[-1])

    def machines(self) -> dict[str, str]:
        """Return the machines alive, each with the number of its report; those long gone are forgotten."""
        members = sorted(map(_text, self._connection.smembers(MACHINES)))
        names = [name for name in members if _MACHINE.fullmatch(name)][:MAX_MACHINES]
        if not names:
            return {}
        digests = self._connection.mget([f"easel:machine:{name}" for name in names])
        if gone := [name for name, digest in zip(names, digests, strict=True) if digest is None]:
            self._connection.srem(MACHINES, *gone)
        alive = {name: _text(one) for name, one in zip(names, digests, strict=True) if one}
        self._files = {name: one for name, one in self._files.items() if name in alive}
        return alive

    def files(self, machine: str) -> tuple[Reported, ...] | None:
        """Return what a machine reported, None where that is lost; raise `Untrusted` where it was not one of us."""
        data = self._connection.get(f"easel:files:{machine}")
        if not isinstance(data, bytes):
            return None
        checked = self._files.setdefault(machine, _Checked(Reported, "path"))
        return checked.of(unpack(f"files of {machine}", data, self._key))

    # -- the catalog

    def owns(self, me: str) -> bool:
        """Take, keep or leave alone the right to publish, which one bot has at a time."""
        if self._connection.set(OWNER, me, ex=OWNED_S, nx=True):
            return True
        if self._connection.get(OWNER) != me.encode():
            return False
        self._connection.expire(OWNER, OWNED_S)
        return True

    def disown(self, me: str) -> None:
        if self._connection.get(OWNER) == me.encode():
            self._connection.delete(OWNER)

    def owned(self) -> bool:
        """Tell whether a bot that publishes is alive."""
        return bool(self._connection.exists(OWNER))

    def publish(self, machine: str, default: str, cards: list[dict[str, Any]], *, after: int = 0) -> int:
        """Publish a catalog and return its generation, which is greater than `after` and than any before."""
        # A clock outlives a Redis that lost everything; counting up outlives a clock that was set back.
        generation = max(after, self.generation(), int(time.time() * 1000) - 1) + 1
        said = {"generation": generation, "machine": machine, "default": default, "cards": cards}
        with self._connection.pipeline() as pipe:
            pipe.set(PUBLISHED, pack("catalog", said, self._key), ex=KEPT_S)
            pipe.set(GENERATION, generation, ex=KEPT_S)
            pipe.publish(HINTS, str(generation))
            pipe.execute()
        return generation

    def generation(self) -> int:
        """Return the generation of what is published, 0 while nothing is."""
        number = self._connection.get(GENERATION)
        return int(number) if isinstance(number, bytes) and re.fullmatch(rb"[0-9]{1,18}", number) else 0

    def published(self) -> Published | None:
        """Return the newest catalog, None while there is none; raise `Untrusted` where it is not from one of us."""
        data = self._connection.get(PUBLISHED)
        if not isinstance(data, bytes):
            return None
        said = unpack("catalog", data, self._key)
        try:
            return Published(
                generation=said["generation"],
                machine=said["machine"],
                default=said["default"],
                cards=self._cards.of(said["cards"]),
            )
        except (KeyError, TypeError, ValidationError) as error:
            raise Untrusted("The catalog in Redis does not have our shape.") from error

    # -- hints

    def wait(self, seconds: float) -> None:
        """Return when somebody says "look now", or after `seconds`; without Redis it is just a pause."""
        deadline = time.monotonic() + seconds
        try:
            if self._hints is None:
                self._hints = self._connection.pubsub(ignore_subscribe_messages=True)
                self._hints.subscribe(HINTS)
            while (left := deadline - time.monotonic()) > 0:
                if self._hints.get_message(timeout=left) is not None:
                    return
        except RedisError:
            self._hints = None
            time.sleep(max(0.0, deadline - time.monotonic()))
