"""Writes docs/benchmarks.md from the figures that were found."""

from pathlib import Path

from harness.rows import ROWS

HEAD = """# Benchmarks

Measured by `make bench` (one row alone: `make bench ROW=1`), which writes this page: the server, the load generator
(`dormouse sim --load`) and the watcher share one machine, so all figures include what the measuring itself costs.
Every engine is embedded (broker, journal, SQLite) unless the row says otherwise. Processor time is user plus system time from `/proc`, memory is the
resident size. Where a row names a reference it ran in the same minutes. Figures are as found, goals beside them.
"""


def write(path: Path, results: dict) -> None:
    # Said by hand, in the file of results, of figures that need a word.
    note = results.get("note", "")
    results = {number: result for number, result in results.items() if number != "note"}
    parts = [HEAD, _machine(results), *([f"{note}\n"] if note else []), _summary(results), _costs(results)]
    for number, row in ROWS.items():
        result = results.get(str(number))
        parts.append(f"## {number}. {row.title[0].upper()}{row.title[1:]}\n")
        parts.append(f"Goal: {row.goal}.\n\n{row.how}\n")
        if result is None:
            parts.append("Not measured yet.\n")
            continue
        if result["scale"] != 1:
            parts.append(f"At {result['scale']} of the full size.\n")
        parts.append("| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in _flat(result["figures"])))
        if row.limit:
            parts.append(f"What limits it: {row.limit}\n")
    path.write_text("\n".join(parts))


def _machine(results: dict) -> str:
    machines = {}
    for number, result in results.items():
        found = result["machine"]
        about = f"{found['cpu']}, {found['cores']} cores, {found['memoryGiB']} GiB, Linux {found['kernel']}"
        machines.setdefault(about, []).append((int(number), found["when"], found["loadBefore"]))
    lines = ["## Machine\n"]
    for about, rows in machines.items():
        lines.append(f"{about}:\n")
        for number, when, load in sorted(rows):
            lines.append(f"* row {number}: {when}, load average before {load:.1f}")
        lines.append("")
    return "\n".join(lines)


def _summary(results: dict) -> str:
    lines = ["## In short\n", "| row | goal | found |", "|---|---|---|"]
    for number, row in ROWS.items():
        result = results.get(str(number))
        found = SHORT[number](result["figures"]) if result else "not measured yet"
        lines.append(f"| {number}. {row.title} | {row.goal} | {found} |")
    return "\n".join([*lines, ""])


SHORT = {
    1: lambda f: f"{f['samplesPerS']:,}/s, {f['serverCpuSPer100k']} CPU-s per 100,000, {f['timesMosquitto']} × Mosquitto",
    2: lambda f: f"{f['samplesPerS']:,}/s, {f['timesMosquitto']} × Mosquitto with one subscriber; "
    f"Dormouse {f['dormouseCpuSPer100k']} CPU-s per 100,000, PostgreSQL {f['postgresCpuSPer100k']}",
    3: lambda f: f"p50 {f['pubackMs']['p50']} ms (goal {f['goalP50Ms']} ms), p99 {f['pubackMs']['p99']} ms",
    4: lambda f: f"p50 {f['alone']['succeededMs']['p50']} ms, p99 {f['alone']['succeededMs']['p99']} ms alone; "
    f"{f['concurrency 64']['commandsPerS']:,.0f}/s",
    5: lambda f: f"p50 {f['ageMs']['p50']} ms, p99 {f['ageMs']['p99']} ms",
    6: lambda f: f"{f['idleMb']} MB idle, {f['kbPerIdleConnection']} KB per connection, "
    + next(f"{value} MB reporting" for name, value in f.items() if name.startswith("reportingFor")),
    7: lambda f: ", ".join(f"{name.removesuffix(', ms')} p99 {f[name]['p99']} ms" for name in f if name.endswith(", ms"))
    + f" over {f['samples']:,} samples",
    8: lambda f: f"{f['bytesPerSample']} bytes",
    9: lambda f: f"{f['emptyBestS']}–{f['emptyWorstS']} s empty, {f['with10000DevicesBestS']}–{f['with10000DevicesWorstS']} s with 10,000",
    10: lambda f: f"all heard after {f['allHeardS']} s, {f['onlineInApi']:,} online",
    11: lambda f: f"p99 {f['lateP99Ms']} ms late, {f['declared']:,} of {f['expected']:,} declared, {f['false']} falsely",
    13: lambda f: "; ".join(f"{name}: {_brief(found)}" for name, found in f.items() if isinstance(found, dict)),
    12: lambda f: f"dearest / cheapest {f['dearest / cheapest']}",
}


def _brief(found: dict) -> str:
    month = found["charts"]["monthByHour"]["p99Ms"]
    return f"30 days by hour p99 {month:.1f} ms, {found['load']['usedBytesPerRow']:.0f} bytes per sample"


def _costs(results: dict) -> str:
    """What one sample costs on each engine, from the rows that measured it."""
    lines = [
        "## Cost per sample by engine\n",
        "| engines | Dormouse, CPU-s per 100,000 | servers beside it, CPU-s per 100,000 | bytes per sample, rollups included |",
        "|---|---|---|---|",
    ]
    durable, external, by_engine = (results.get(number, {}).get("figures") for number in ("1", "2", "13"))
    if durable:
        size = results["8"]["figures"]["bytesPerSample"] if "8" in results else "see row 8"
        lines.append(f"| all embedded, over MQTT (rows 1, 8) | {durable['serverCpuSPer100k']} | none | {size} |")
    if external:
        beside = ", ".join(f"{name} {external[f'{name.lower()}CpuSPer100k']}" for name in ("Mosquitto", "Redis", "Postgres"))
        lines.append(f"| Mosquitto, Redis, PostgreSQL, over MQTT (row 2) | {external['dormouseCpuSPer100k']} | {beside} | see row 13 |")
    for name, found in (by_engine or {}).items():
        if isinstance(found, dict):
            server = found.get("serverCpuSPer100k", "none" if name == "SQLite" else "not measured")
            load = found["load"]
            lines.append(
                f"| {name}, its history alone, a sample a minute (row 13) | {load['cpuSecondsPer100k']:.3f} | {server} "
                f"| {load['usedBytesPerRow']:.0f} |"
            )
    return "\n".join([*lines, ""])


def _flat(figures: dict, prefix: str = "") -> list[tuple[str, object]]:
    rows = []
    for name, value in figures.items():
        if isinstance(value, dict):
            rows.extend(_flat(value, f"{prefix}{name}: "))
        else:
            shown = round(value, 3) if isinstance(value, float) else value
            rows.append((f"{prefix}{name}", f"{shown:,}" if isinstance(value, (int, float)) else value))
    return rows
