"""Servers of other makers, private ones: PostgreSQL and Redis."""

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from harness.processes import TICKS_PER_S, Bench, Measured, until

POSTGRES_BINARIES = "/usr/lib/postgresql"


class Postgres(Measured):
    """A PostgreSQL that loses nothing it has committed."""

    def __init__(self, folder: Path):
        self.binaries = _postgres_binaries()
        self.port = free_port()
        self.user = _unprivileged()
        data = folder / "data"
        data.mkdir()
        if self.user:
            for path in (folder, data):
                shutil.chown(path, self.user, self.user)
            for parent in folder.parents:
                if parent.stat().st_uid == os.getuid() and parent != Path("/tmp"):
                    parent.chmod(parent.stat().st_mode | 0o011)
        self._run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
                "shared_buffers = 1GB\nmax_wal_size = 8GB\ncheckpoint_timeout = 15min\nmax_connections = 100\n"
                "fsync = on\nsynchronous_commit = on\nfull_page_writes = on\nlog_min_messages = error\n"
            )
        self.process = subprocess.Popen(
            self._as_user([str(self.binaries / "postgres"), "-D", str(data)]), stderr=subprocess.DEVNULL, cwd="/"
        )
        until(lambda: self._answers(), "PostgreSQL answers")
        self.sql("CREATE DATABASE dormouse", "postgres")
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/dormouse?sslmode=disable"

    def sql(self, statement: str, database: str = "dormouse") -> str:
        command = [str(self.binaries / "psql"), "-XqAt", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        return subprocess.run([*command, "-d", database, "-c", statement], check=True, capture_output=True, text=True).stdout.strip()

    def cpu_s(self) -> float:
        """Of the server and all its children, those that have ended included."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue  # it has just ended
            if int(stat.parent.name) == self.postmaster:
                ticks += sum(int(fields[index]) for index in (11, 12, 13, 14))
            elif int(fields[1]) == self.postmaster:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_PER_S

    @property
    def postmaster(self) -> int:
        return self.process.pid

    def _answers(self) -> bool:
        try:
            return self.sql("SELECT 1", "postgres") == "1"
        except subprocess.CalledProcessError:
            return False

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(self._as_user([str(self.binaries / program), *arguments]), check=True, capture_output=True, cwd="/")

    def _as_user(self, command: list[str]) -> list[str]:
        if not self.user:
            return command
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", *command]


class Timescale(Measured):
    """The real extension in a WebAssembly build of PostgreSQL with one connection: its sizes count, its speed is no server's."""

    def __init__(self, folder: Path, repository: Path):
        for name in ("package.json", "package-lock.json", "server.mjs"):
            shutil.copy(repository / "crates" / "testbed" / "timescale" / name, folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True)
        self.process = subprocess.Popen(
            ["node", "server.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        port = self.process.stdout.readline().split()[-1]
        self.url = f"postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"


class Redis(Measured):
    """A Redis that keeps nothing on disk."""

    def __init__(self, folder: Path):
        port = free_port()
        self.port = port
        self.url = f"redis://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )
        until(lambda: self.call("PING") == "PONG", "Redis answers")

    def call(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def memory_bytes(self) -> int:
        lines = self.call("INFO", "memory").splitlines()
        return int(next(line.split(":")[1] for line in lines if line.startswith("used_memory:")))


class Engines:
    """Mosquitto, Redis and PostgreSQL, and the settings that name them."""

    def __init__(self, bench: Bench):
        self.mosquitto = bench.mosquitto()
        self.postgres = Postgres(bench.new_folder("postgres"))
        bench.running.append(self.postgres)
        self.redis = Redis(bench.new_folder("redis"))
        bench.running.append(self.redis)
        self.environment = {
            "DORMOUSE__BROKER__URL": f"mqtt://{self.mosquitto.address}",
            "DORMOUSE__HOT__URL": self.redis.url,
            "DORMOUSE__DATABASE__URL": self.postgres.url,
        }

    def cpu_s(self) -> dict[str, float]:
        return {"mosquitto": self.mosquitto.cpu_s(), "postgres": self.postgres.cpu_s(), "redis": self.redis.cpu_s()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _postgres_binaries() -> Path:
    versions = sorted(Path(POSTGRES_BINARIES).glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not versions:
        raise SystemExit("PostgreSQL is missing: apt-get install postgresql")
    return versions[-1].parent


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise SystemExit("run as root, PostgreSQL needs the user postgres") from None
