"""One catalog for the bot's machine and the workers' machines, over a real server."""

import asyncio
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from easel import server
from easel.catalog import Base, ModelKind
from easel.errors import ModelUnusable, Untrusted
from easel.job_queue import catalog as board_room
from easel.job_queue.catalog import CatalogBoard, pack, unpack
from easel.models_file.changing import change_entry
from easel.shared_library import Role, SharedLibrary
from tests.fakes.library_peer import KEY, peer
from tests.fakes.model_place import Place, names
from tests.fakes.weight_files import checkpoint, lora, safetensors

SD15 = checkpoint("sd15")
PHOTO = "Stable-diffusion/photo.safetensors"


@pytest.fixture
def home(tmp_path: Path) -> Place:
    """The bot's machine."""
    return Place(tmp_path / "home")


@pytest.fixture
def far(tmp_path: Path) -> Place:
    """A worker's machine."""
    return Place(tmp_path / "far")


@pytest.fixture
def started(redis_url: str) -> Iterator[Callable[[Place, Role], SharedLibrary]]:
    running: list[SharedLibrary] = []

    def start(place: Place, role: Role) -> SharedLibrary:
        running.append(peer(place, redis_url, role))
        running[-1].start()
        return running[-1]

    yield start
    for library in running:
        library.close()


def until(true: Callable[[], object], seconds: float = 60) -> float:
    """Wait until something is true and return how long that took."""
    started = time.perf_counter()
    while not true():
        assert time.perf_counter() - started < seconds, "it never came true"
        time.sleep(0.005)
    return time.perf_counter() - started


def looks(*libraries: SharedLibrary) -> None:
    """Let each look, twice round, so that everybody has heard of everybody."""
    for library in libraries * 2:
        library.look()


@pytest.fixture
def raw(redis_url: str) -> Iterator["Redis"]:
    with Redis.from_url(redis_url) as connection:
        yield connection


# -- what is said


def test_a_model_on_another_machine_is_in_the_catalog_with_who_has_it(home: Place, far: Place, redis_url: str) -> None:
    safetensors(far.models / PHOTO, SD15)
    safetensors(home.models / "Lora" / "ink.safetensors", lora("sd15"))
    home.says(f"models:\n  nice: {{kind: checkpoint, path: {PHOTO}, title: Nice}}\n")
    bot, worker = peer(home, redis_url, "bot"), peer(far, redis_url, "worker")

    assert not bot.catalog.checkpoint("nice").installed
    assert bot.catalog.model(ModelKind.LORA, "ink").installed

    looks(worker, bot)

    card = bot.catalog.checkpoint("nice")
    assert (card.workers, card.installed, card.base, card.root) == ((worker.machine,), True, Base.SD15, "")
    assert not bot.catalog.model(ModelKind.LORA, "ink").installed
    assert bot.catalog.default_checkpoint.name == "nice"


def test_a_worker_finds_its_own_file_under_the_published_name(home: Place, far: Place, redis_url: str) -> None:
    home.says(f"models:\n  nice: {{kind: checkpoint, path: {PHOTO}, enlarge: 2}}\n")
    safetensors(far.models / "Lora" / "own.safetensors", lora("sd15"))
    far.roots = [far.models.parent / "empty", far.models]
    file = safetensors(far.models / PHOTO, SD15)
    bot, worker = peer(home, redis_url, "bot"), peer(far, redis_url, "worker")

    looks(worker, bot, worker)

    card = worker.catalog.checkpoint("nice")
    assert (card.enlarge, card.root) == (2, "1")
    assert worker.path(card).samefile(file)
    # What is asked for under the names of this machine alone is painted as well.
    assert names(worker.catalog, ModelKind.LORA) == ["own"]
    assert bot.problems == ()


def test_a_file_under_another_path_is_known_by_its_hash(home: Place, far: Place, redis_url: str) -> None:
    safetensors(home.models / PHOTO, SD15)
    file = safetensors(far.models / "Stable-diffusion" / "renamed.safetensors", SD15)
    bot, worker = peer(home, redis_url, "bot"), peer(far, redis_url, "worker")
    looks(bot, worker)

    with pytest.raises(ModelUnusable):
        worker.path(worker.catalog.checkpoint("photo"))

    for library in (bot, worker):
        hash_all(library)
    looks(bot, worker, bot)

    assert worker.path(worker.catalog.checkpoint("photo")).samefile(file)
    assert bot.catalog.checkpoint("photo").workers == (worker.machine,)
    assert names(bot.catalog) == ["photo"]


def hash_all(library: SharedLibrary) -> None:
    from easel.model_hashes import hash_file

    for path, (found, facts) in library.local.unhashed():
        library.local.remember(path, found, hash_file(path, facts.seen.kind))
    library.local.save_hashes()


def test_a_worker_that_paints_where_the_bot_lives_is_told_apart_from_none(home: Place, redis_url: str) -> None:
    safetensors(home.models / PHOTO, SD15)
    bot, worker = peer(home, redis_url, "bot"), peer(home, redis_url, "worker")

    bot.look()
    assert bot.catalog.checkpoint("photo").workers is None

    looks(worker, bot)
    assert bot.catalog.checkpoint("photo").workers == (bot.machine,)
    # Of what it sees itself it needs no word of others.
    assert worker.catalog is worker.local.catalog


def test_a_machine_that_died_is_no_longer_believed(
    home: Place, far: Place, redis_url: str, raw: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    safetensors(far.models / PHOTO, SD15)
    bot, worker = peer(home, redis_url, "bot"), peer(far, redis_url, "worker")
    looks(worker, bot)
    assert names(bot.catalog) == ["photo"]
    assert 0 < raw.pttl(f"easel:machine:{worker.machine}") <= board_room.ALIVE_S * 1000

    raw.delete(f"easel:machine:{worker.machine}")
    bot.look()

    assert names(bot.catalog) == []


# -- how fast, and who


def test_an_edit_is_seen_by_all_within_a_second(
    home: Place, far: Place, started: Callable[[Place, Role], SharedLibrary]
) -> None:
    safetensors(far.models / PHOTO, SD15)
    bot, worker = started(home, "bot"), started(far, "worker")
    until(lambda: worker.generation and names(bot.catalog) == ["photo"])

    change_entry(home.file, "photo", {"kind": "checkpoint", "title": "Photo"})
    edit = until(lambda: worker.catalog.checkpoint("photo").title == bot.catalog.checkpoint("photo").title == "Photo")
    safetensors(far.models / "Lora" / "new.safetensors", lora("sd15"))
    file = until(lambda: names(bot.catalog, ModelKind.LORA) == ["new"])

    # Within 1 s on a free core; the rest is for a busy one.
    assert max(edit, file) < 15


def test_processes_follow_one_writer_after_the_other(
    home: Place, far: Place, redis_url: str, started: Callable[[Place, Role], SharedLibrary]
) -> None:
    safetensors(far.models / PHOTO, SD15)
    started(home, "bot")
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.library_peer", str(far.models.parent), redis_url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    heard: list[dict[str, object]] = []
    edits = [("photo", str(number)) for number in range(6)]
    try:
        for name, title in edits:
            change_entry(home.file, name, {"kind": "checkpoint", "title": title})
            while not heard or heard[-1]["titles"] != {name: title}:
                heard.append(json.loads(child.stdout.readline()))
    finally:
        child.kill()
        child.wait()
        child.stdout.close()

    generations = [line["generation"] for line in heard]
    assert generations == sorted(generations, key=int)  # type: ignore[call-overload]
    assert heard[-1]["here"] == ["photo"]


def test_one_bot_publishes_and_the_next_takes_over(home: Place, far: Place, redis_url: str, raw: "Redis") -> None:
    safetensors(home.models / PHOTO, SD15)
    safetensors(far.models / "Stable-diffusion" / "other.safetensors", SD15)
    first, second = peer(home, redis_url, "bot"), peer(far, redis_url, "bot")

    looks(first, second)
    assert names(first.catalog) == names(second.catalog) == ["photo"]
    assert first.generation == second.generation

    first.close()
    first.run()
    looks(second, first)

    assert names(second.catalog) == ["other"]
    assert second.generation > 0
    assert names(first.catalog) == ["other"]
    assert 0 < raw.pttl(board_room.OWNER) <= board_room.OWNED_S * 1000


def test_a_guest_changes_nothing_and_believes_no_bot_that_is_gone(
    home: Place, far: Place, redis_url: str, raw: "Redis"
) -> None:
    safetensors(home.models / PHOTO, SD15)
    guest = peer(far, redis_url, "guest")
    looks(guest)
    assert raw.keys("*") == []

    bot = peer(home, redis_url, "bot")
    bot.look()
    raw.delete(board_room.OWNER)
    looks(guest)
    assert names(guest.catalog) == []

    looks(bot, guest)
    assert names(guest.catalog) == ["photo"]


def test_on_the_built_in_server_each_goes_by_its_own_file(
    home: Place, far: Place, redis_url: str, raw: "Redis"
) -> None:
    safetensors(home.models / PHOTO, SD15)
    far.roots = home.roots
    far.says("models:\n  photo: {kind: checkpoint, title: Mine}\n")
    looks(peer(home, redis_url, "bot"))

    for role in ("guest", "worker"):
        library = SharedLibrary(far.settings(), CatalogBoard(raw, key=KEY), role=role)
        looks(library)

        assert library.catalog.checkpoint("photo").title == "Mine"


async def test_a_bot_watches_until_it_is_told_to_stop(home: Place, redis_url: str) -> None:
    bot = peer(home, redis_url, "bot")
    watch = asyncio.create_task(bot.watch())
    safetensors(home.models / PHOTO, SD15)
    async with asyncio.timeout(10):
        while not bot.catalog.all:
            await asyncio.sleep(0.02)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)

    assert names(bot.catalog) == ["photo"]


# -- when Redis is away, lost everything, or lies


def test_without_redis_the_last_catalog_stays_and_all_is_told_again(tmp_path: Path, home: Place, far: Place) -> None:
    safetensors(far.models / PHOTO, SD15)
    url = server.ensure(tmp_path)
    bot, worker = peer(home, url, "bot"), peer(far, url, "worker")
    looks(worker, bot, worker)
    generation = bot.generation
    with Redis.from_url(url) as connection:
        connection.flushall()
    server.stop(tmp_path)

    home.says("models:\n  photo: {kind: checkpoint, title: Photo}\n")
    looks(bot, worker)
    assert bot.catalog.checkpoint("photo").title == "Photo"
    assert worker.catalog.checkpoint("photo").title == ""

    server.ensure(tmp_path)
    looks(bot, worker, bot, worker)
    server.stop(tmp_path)
    assert worker.catalog.checkpoint("photo").title == "Photo"
    assert bot.catalog.checkpoint("photo").workers == (worker.machine,)
    assert bot.generation == worker.generation > generation


BOMB = zlib.compress(bytes(80 * 2**20), 9)
RUBBISH: dict[str, Callable[[str], bytes]] = {
    "nothing": lambda _: b"",
    "noise": lambda _: bytes(range(256)) * 9,
    "a wrong key": lambda kind: pack(kind, [], b"x" * 32),
    "another kind": lambda _: pack("job", [], KEY),
    "a list of lists": lambda kind: pack(kind, [[[]]] * 5, KEY),
    "a number": lambda kind: pack(kind, 3, KEY),
    "wrong cards": lambda kind: pack(kind, {"generation": 2**60, "machine": 3, "default": 4, "cards": [{}]}, KEY),
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_in_redis_changes_nothing(
    home: Place, far: Place, redis_url: str, raw: "Redis", rubbish: Callable[[str], bytes]
) -> None:
    safetensors(far.models / PHOTO, SD15)
    bot, worker = peer(home, redis_url, "bot"), peer(far, redis_url, "worker")
    looks(worker, bot, worker)

    raw.set(board_room.PUBLISHED, rubbish("catalog"))
    raw.set(board_room.GENERATION, 10**17)
    raw.sadd(board_room.MACHINES, b"\xff\n", "../evil", *[f"m{n}" for n in range(300)])
    raw.set("easel:machine:m1", b"1")
    raw.set("easel:files:m1", rubbish("files of m1"))
    worker.look()
    assert names(worker.catalog) == ["photo"]
    looks(bot, worker)

    assert names(bot.catalog) == names(worker.catalog) == ["photo"]
    assert bot.generation == worker.generation


@pytest.mark.parametrize("key", [board_room.PUBLISHED, board_room.GENERATION, board_room.OWNER, board_room.MACHINES])
def test_keys_of_another_kind_cost_only_the_sharing(
    home: Place, far: Place, redis_url: str, raw: "Redis", key: str
) -> None:
    safetensors(far.models / PHOTO, SD15)
    raw.hset(key, "a", "b")
    bot, worker = peer(home, redis_url, "bot"), peer(far, redis_url, "worker")

    looks(worker, bot)
    safetensors(far.models / "Stable-diffusion" / "new.safetensors", SD15)
    worker.refresh()

    assert names(worker.catalog) == ["new", "photo"]
    raw.delete(key)
    looks(worker, bot, worker)
    assert names(bot.catalog) == names(worker.catalog) == ["new", "photo"]


@pytest.mark.parametrize(
    "change",
    [
        {"path": "../../etc/passwd"},
        {"path": "/etc/passwd"},
        {"path": "C:\\x"},
        {"size": -1},
        {"size": "large"},
        {"kind": "virus"},
        {"facts": {"seen": {"kind": "lora", "title": "x" * 400}}},
        {"facts": {"seen": {"kind": "lora", "trigger_words": ["a"] * 101}}},
        {"facts": {"seen": {"kind": "lora"}, "sha256": "x"}},
        {"facts": []},
    ],
)
def test_a_report_that_no_worker_writes_is_left_out(redis_url: str, raw: "Redis", change: dict[str, object]) -> None:
    board = CatalogBoard(raw, key=KEY)
    good = {"path": "Lora/a.safetensors", "kind": "lora", "size": 1, "facts": {"seen": {"kind": "lora"}}}

    board.report("m1", [good | {"path": "b"} | change, good, good | {"path": "c", "later": 1}])

    assert [one.path for one in board.files("m1") or ()] == ["Lora/a.safetensors", "c"]


def test_a_bomb_is_refused_before_it_is_large() -> None:
    with pytest.raises(Untrusted, match="larger than 64 MiB"):
        unpack("catalog", signed(BOMB), KEY)
    with pytest.raises(Untrusted, match="not JSON"):
        unpack("catalog", signed(zlib.compress(b"[" * 10**6)), KEY)


def signed(packed: bytes) -> bytes:
    import hashlib
    import hmac

    return b"E1" + hmac.new(KEY, b"catalog\n" + packed, hashlib.sha256).digest() + packed
