"""The images and the compose file: who may reach whom, who is told what, and what a break-in would find."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from ruamel.yaml import YAML

from easel.server_binary import find_server

ROOT = Path(__file__).parents[1]
COMPOSE = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(set(SERVICES) - {"redis"})
WORKERS = ["worker-cpu", "worker-gpu"]
SECRETS = {"REDIS_PASSWORD": "f00d" * 16, "EASEL_KEY": "cafe" * 16, "DISCORD_TOKEN": "d-token", "TELEGRAM_TOKEN": "1:t"}
PROFILES = ("--profile", "cpu", "--profile", "gpu")


def stages() -> dict[str, list[str]]:
    """Return the instructions of each stage of the Dockerfile, those of the stage it builds upon first."""
    found: dict[str, list[str]] = {}
    own: list[str] = []
    for line in re.sub(r"\\\n", "", (ROOT / "Dockerfile").read_text()).splitlines():
        if match := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            own = found[match[2]] = list(found.get(match[1], []))
        elif line and not line.startswith("#"):
            own.append(line)
    return found


def last(instructions: list[str], word: str) -> str:
    return next(line for line in reversed(instructions) if line.startswith(f"{word} ")).partition(" ")[2]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_is_broken_into_can_change_nothing_around_it(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_be_reached_from_outside(name: str) -> None:
    assert not {"ports", "expose"} & set(SERVICES[name])


def test_redis_and_the_workers_have_no_way_out() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ["redis", *WORKERS]:
        assert SERVICES[name]["networks"] == ["inside"], name


def test_redis_runs_as_its_own_user_and_writes_everything_down() -> None:
    command = SERVICES["redis"]["command"][-1]

    assert SERVICES["redis"]["user"] == "999:1000"
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_redis_asks_for_the_password_and_does_not_show_it(tmp_path: Path) -> None:
    binary, socket = find_server().path, tmp_path / "s"
    shell, flag, written = SERVICES["redis"]["command"]
    # As the container runs it, but on a socket; compose writes a dollar as two.
    command = written.replace("$$", "$").replace(
        "valkey-server - ", f"{binary} - --port 0 --unixsocket {socket} --dir {tmp_path} "
    )
    environment = {"PATH": os.defpath, "REDIS_PASSWORD": SECRETS["REDIS_PASSWORD"]}
    process = subprocess.Popen([shell, flag, command], env=environment, stdout=subprocess.DEVNULL)
    try:
        with Redis(unix_socket_path=str(socket), password=SECRETS["REDIS_PASSWORD"]) as known:
            until_it_answers(known)

        with Redis(unix_socket_path=str(socket)) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        assert SECRETS["REDIS_PASSWORD"] not in Path(f"/proc/{process.pid}/cmdline").read_text()
    finally:
        process.kill()
        process.wait()


def until_it_answers(connection: "Redis") -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            connection.ping()
        except RedisError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.02)
        else:
            return


@pytest.mark.parametrize("stage", ["bot", "worker"])
def test_an_image_runs_as_a_user_who_owns_nothing_of_the_program(stage: str) -> None:
    instructions = stages()[stage]

    assert last(instructions, "USER") == "easel"
    assert [line for line in instructions if "chown" in line] == [
        "RUN useradd --system --uid 10001 --create-home easel && mkdir -p /data /models && chown easel /data /models"
    ]
    assert instructions.index("USER easel") > max(n for n, line in enumerate(instructions) if line.startswith("COPY"))


@pytest.mark.parametrize("stage", ["bot", "worker"])
def test_an_image_has_the_tested_versions_and_no_secret(stage: str) -> None:
    instructions = stages()[stage]

    assert all("-c constraints.txt" in line for line in instructions if "pip install" in line)
    assert not [line for line in instructions if re.search(r"TOKEN|PASSWORD|SECRET|EASEL_KEY|COPY \.", line)]


def test_only_what_the_images_need_is_sent_to_be_built() -> None:
    first, *rest = (ROOT / ".dockerignore").read_text().split()
    kept = {line.removeprefix("!") for line in rest if line.startswith("!")}
    copied = {word for line in stages()["base"] if line.startswith("COPY ") for word in line.split()[1:-1]}

    assert first == "*"
    assert kept == copied
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.parametrize("name", OURS)
def test_the_health_of_a_service_is_asked_for_its_own_role(name: str) -> None:
    target = SERVICES[name]["build"]["target"]
    own = SERVICES[name].get("healthcheck", {}).get("test")
    asked = own or YAML(typ="safe").load(last(stages()[target], "HEALTHCHECK").partition("CMD ")[2])

    assert asked[-4:] == ["python", "-m", "easel.health", name.partition("-")[0]]


def test_redis_is_well_before_anybody_else_starts() -> None:
    assert "valkey-cli ping" in SERVICES["redis"]["healthcheck"]["test"][1]
    for name in OURS:
        assert SERVICES[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}, name


def test_a_service_is_given_the_time_it_takes_to_finish() -> None:
    seconds = {name: int(service["stop_grace_period"].removesuffix("s")) for name, service in SERVICES.items()}

    # A worker finishes within 100 s, a call to a network within 45 s, the answers in hand of a door within 10 s.
    assert all(seconds[name] > 100 for name in WORKERS)
    assert seconds["delivery"] > 45
    assert seconds["bot"] > 10
    assert seconds["redis"] >= 30


def test_a_gpu_is_asked_for_in_its_profile_only() -> None:
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]

    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert {name: service.get("profiles") for name, service in SERVICES.items() if "profiles" in service} == {
        "worker-cpu": ["cpu"],
        "worker-gpu": ["gpu"],
    }
    assert SERVICES["worker-cpu"]["command"][-2:] == ["--device", "cpu"]
    assert "deploy" not in SERVICES["worker-cpu"]


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_is_told_no_bot_token(name: str) -> None:
    assert SERVICES[name]["env_file"] == []
    own = {"DTYPE", "RAM_GB", "COMPILE", "ALLOW_PICKLES", "LOG_LEVEL"}
    assert set(SERVICES[name]["environment"]) == {"REDIS_URL", "EASEL_KEY", *(f"EASEL_{one}" for one in own)}


@pytest.mark.parametrize("name", OURS)
def test_models_are_not_writable_for_anybody(name: str) -> None:
    mounts = [mount for mount in SERVICES[name]["volumes"] if "models" in mount]

    assert len(mounts) == 2
    assert all(mount.endswith(":ro") for mount in mounts)


def config(folder: Path, **changes: str) -> "subprocess.CompletedProcess[str]":
    """Ask compose what it makes of the file, beside a `.env` with our secrets."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    shutil.copy(ROOT / "docker-compose.yml", folder)
    lines = [f"{name}={value}\n" for name, value in (SECRETS | changes).items() if value]
    (folder / ".env").write_text("".join(lines))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        [program, *PROFILES, "config"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_compose_accepts_the_file_and_tells_tokens_to_two_services_only(tmp_path: Path) -> None:
    answer = config(tmp_path)

    assert answer.returncode == 0, answer.stderr
    services = YAML(typ="safe").load(answer.stdout)["services"]
    told = {name for name, service in services.items() if "TOKEN" in str(service.get("environment"))}
    assert told == {"bot", "delivery"}
    assert "d-token" not in str([services[name] for name in ["redis", *WORKERS]])
    assert services["bot"]["environment"]["REDIS_URL"] == f"redis://:{SECRETS['REDIS_PASSWORD']}@redis:6379/0"


@pytest.mark.parametrize("missing", ["REDIS_PASSWORD", "EASEL_KEY"])
def test_compose_refuses_to_start_without(missing: str, tmp_path: Path) -> None:
    answer = config(tmp_path, **{missing: ""})

    assert answer.returncode != 0
    assert f"set {missing} in .env" in answer.stderr
