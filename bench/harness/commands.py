"""Row 4: commands out and back."""

from harness.processes import Bench


def commands(bench: Bench) -> dict:
    server = bench.server()
    credentials = server.add_devices(5_000)
    ids = server.data.parent / "ids.txt"
    ids.write_text("".join(f"bench-{number:05}\n" for number in range(1, 5_001)))
    echo = bench.sim(server.mqtt, "--credentials", credentials, "--echo")
    echo.line()
    alone = bench.people(server, "commands", "--ids", ids, "--count", bench.scaled(3_000)).result()
    before_s = server.cpu_s()
    count = bench.scaled(60_000)
    many = bench.people(server, "commands", "--ids", ids, "--count", count, "--concurrency", 64).result()
    spent_s = server.cpu_s() - before_s
    return {
        "alone": {name: alone[name] for name in ("succeededMs", "acceptedMs", "outcomes")},
        "concurrency 64": {name: many[name] for name in ("commandsPerS", "succeededMs", "outcomes")},
        "serverCpuSPer100k": round(spent_s / count * 100_000, 2),
    }
