"""Row 7: history, read by people."""

from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from harness.ingest import stored
from harness.processes import Bench, until

QUARTERS = 35_040  # a year of them
TICKS = 17_280  # a day of 5-second samples


def reads(bench: Bench) -> dict:
    devices = max(1, round(bench.history_rows * bench.scale / (QUARTERS + TICKS)))
    server = bench.server(DORMOUSE__RETENTION__RAW_DAYS="400", DORMOUSE__RETENTION__MINUTE_DAYS="400")
    credentials = server.add_devices(devices)
    begun = datetime.now(timezone.utc)
    total = 0
    for count, step_ms, backdate_s in ((QUARTERS, 900_000, 366 * 86_400), (TICKS, 5_000, 86_400)):
        load = bench.sim(
            server.mqtt, "--credentials", credentials, "--load", "--count", count * devices,
            "--step-ms", step_ms, "--backdate-s", backdate_s,
        )
        total += load.result()["acknowledged"]
    until(lambda: stored(server) >= total, "all samples are in history")

    def path(number: int, span: timedelta, resolution: str) -> str:
        device = f"bench-{number % devices + 1:05}"
        window = f"from={_time(begun - span)}&to={_time(begun)}"
        return f"/api/v1/devices/{device}/history?{window}&resolution={resolution}"

    def measure(span: timedelta, resolution: str) -> dict:
        paths = [part for number in range(20) for part in ("--path", path(number * 7, span, resolution))]
        read = bench.people(server, "reads", *paths, "--count", bench.scaled(300)).result()
        return {**read["ms"], "statuses": read["statuses"], "bodyBytes": read["bodyBytes"]}

    return {
        "samples": total,
        "devices": devices,
        "30 days by hour, ms": measure(timedelta(days=30), "hour"),
        "a year by day, ms": measure(timedelta(days=365), "day"),
        "a raw day, ms": measure(timedelta(days=1), "raw"),
        "historyMb": round(sum(file.stat().st_size for file in server.data.glob("history.db*")) / 2**20, 1),
        "serverRssMb": server.rss_mb(),
    }


def _time(moment: datetime) -> str:
    return quote(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
