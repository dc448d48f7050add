"""The processes that are measured and those that measure: started here, ended here."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 120


class Bench:
    """What every row needs: the binaries, a folder, and how large to measure."""

    def __init__(self, repository: Path, folder: Path, scale: float, history_rows: int):
        release = repository / "target" / "release"
        self.dormouse = release / "dormouse"
        self.client = release / "dormouse-bench"
        for binary in (self.dormouse, self.client):
            if not binary.exists():
                raise SystemExit(f"{binary} is missing: cargo build --release -p dormouse -p dormouse-bench")
        self.repository = repository
        self.folder = folder
        self.scale = scale
        self.history_rows = history_rows
        self.running = []
        self.counter = 0

    def scaled(self, count: float) -> int:
        return max(1, int(count * self.scale))

    def new_folder(self, name: str) -> Path:
        self.counter += 1
        path = self.folder / f"{self.counter:02}-{name}"
        path.mkdir()
        return path

    def server(self, data: Path | None = None, **environment: str) -> "Server":
        return Server(self, data or self.new_folder("data"), environment)

    def mosquitto(self) -> "Mosquitto":
        broker = Mosquitto(self.new_folder("mosquitto"))
        self.running.append(broker)
        return broker

    def sim(self, broker: str, *arguments: object) -> "Tool":
        """`dormouse sim`, in the background."""
        tool = Tool([str(self.dormouse), "sim", "--broker", broker, *map(str, arguments)], {})
        self.running.append(tool)
        return tool

    def people(self, server: "Server", *arguments: object) -> "Tool":
        """The client for commands, watching and reads, in the background."""
        command = [str(self.client), "--http", server.http, *map(str, arguments)]
        tool = Tool(command, {"DORMOUSE_TOKEN": server.token})
        self.running.append(tool)
        return tool

    def stop_all(self) -> None:
        for process in reversed(self.running):
            process.stop()
        self.running.clear()
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class Measured:
    """A process whose processor time and memory are read from /proc."""

    process: subprocess.Popen

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
        return 0.0

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Tool(Measured):
    """A measuring process that prints lines of JSON."""

    def __init__(self, command: list[str], environment: dict[str, str]):
        self.command = command
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env=os.environ | {"RUST_LOG": "warn", "RUST_BACKTRACE": "0"} | environment, text=True
        )

    def line(self) -> dict:
        """The next line; the process must not have failed."""
        text = self.process.stdout.readline()
        if not text:
            raise RuntimeError(f"{' '.join(self.command[:4])} … ended with {self.process.wait()} and said nothing")
        return json.loads(text)

    def result(self) -> dict:
        """The last line, once the process has ended well."""
        lines = self.process.stdout.read().splitlines()
        code = self.process.wait()
        if code != 0 or not lines:
            raise RuntimeError(f"{' '.join(self.command[:4])} … ended with {code}")
        return json.loads(lines[-1])


class Mosquitto(Measured):
    """The reference broker, as fast as it goes: no files, nobody refused."""

    def __init__(self, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        configuration = folder / "mosquitto.conf"
        configuration.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
            "max_inflight_messages 1000\nmax_queued_messages 10000000\nlog_type error\n"
        )
        self.address = f"127.0.0.1:{port}"
        self.process = subprocess.Popen(["mosquitto", "-c", str(configuration)], stderr=subprocess.DEVNULL)
        _until(lambda: _connects(self.address), "mosquitto listens")


class Server(Measured):
    """A Dormouse with everything embedded and data of its own."""

    def __init__(self, bench: Bench, data: Path, environment: dict[str, str]):
        self.data = data
        self.log = (data.parent / f"{data.name}.log").open("ab")
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [str(bench.dormouse), "serve", "--data", str(data), "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--ready-json"],
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=os.environ | {"DORMOUSE__LOG__FILTER": "warn"} | environment,
            text=True,
        )
        bench.running.append(self)
        self.environment = environment
        line = self.process.stdout.readline()
        self.ready_s = round(time.perf_counter() - start, 3)
        if not line:
            raise RuntimeError(f"the server did not start: {Path(self.log.name).read_text()[-2000:]}")
        ready = json.loads(line)
        self.http = ready["http"].removeprefix("http://").rstrip("/")
        self.mqtt = ready["mqtt"].removeprefix("mqtt://").rstrip("/")
        self.token = subprocess.run(
            [str(bench.dormouse), "token", "create", "--data", str(data), "--name", f"bench-{start}", "--role", "admin"],
            check=True, capture_output=True, text=True, env=os.environ | environment,
        ).stdout.strip()

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.http, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.token}"} | (headers or {}))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> dict:
        status, body = self.request("GET", path)
        if status != 200:
            raise RuntimeError(f"GET {path}: {status} {body[:500]!r}")
        return json.loads(body)

    def add_devices(self, count: int) -> Path:
        """Adds devices bench-00001 and so on; returns the file with their credentials."""
        rows = "".join(f"bench-{number:05}\n" for number in range(1, count + 1))
        headers = {"Content-Type": "text/csv", "Accept": "text/csv"}
        status, body = self.request("POST", "/api/v1/devices.csv", f"deviceId\n{rows}".encode(), headers)
        if status != 200:
            raise RuntimeError(f"import: {status} {body[:500]!r}")
        path = self.data.parent / f"{self.data.name}-credentials.csv"
        path.write_bytes(body)
        return path


def _until(done, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not in {PATIENCE_S} s: {what}")
        time.sleep(0.02)


def _connects(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1).close()
        return True
    except OSError:
        return False


until = _until
