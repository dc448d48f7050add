"""What is measured, row by row. Each row starts what it needs and returns its figures."""

from collections.abc import Callable
from dataclasses import dataclass

from harness import by_engine, commands, external, history, ingest, presence, size
from harness.processes import Bench


@dataclass(frozen=True)
class Row:
    title: str
    measure: Callable[[Bench], dict]
    #: What was aimed at, in the words of the report.
    goal: str
    #: How it is measured, for the report.
    how: str
    #: What limits it, from profiles.
    limit: str = ""


ROWS = {
    1: Row(
        "durable ingest, all embedded",
        ingest.durable,
        "≥ 120,000 samples/s into the database, ≤ 1.0 CPU-s per 100,000, ≥ 1.5 × Mosquitto with one subscriber",
        "1,000 devices, QoS 1, window 20, 200-byte samples, flat out; the clock stops when the last sample is in history. "
        "Reference: the same load on Mosquitto with one QoS 1 subscriber that stores nothing.",
    ),
    2: Row(
        "durable ingest through Mosquitto, Redis and PostgreSQL",
        external.durable,
        "keeps up with all that the broker can carry; Dormouse itself ≤ 0.6 CPU-s per 100,000",
        "The load of row 1 on Mosquitto; Dormouse acknowledges to it after the commit in PostgreSQL (fsync and synchronous_commit on). "
        "Four servers and the generator share two cores. Reference: the same load on Mosquitto with one subscriber that stores nothing.",
        "the two cores: all processes together take 2.9 CPU-s per 100,000 samples, which two cores give in 1.5 s. No backlog "
        "grows: the last sample is in the database 0.7 s after the broker acknowledged it.",
    ),
    3: Row(
        "PUBACK latency at 5,000 samples/s",
        ingest.latency,
        "p50 ≤ 2 × fdatasync + 1 ms, p99 ≤ 20 ms",
        "1,000 devices, each at its own time; PUBACK follows the fsync of the journal.",
    ),
    4: Row(
        "command: request → ack → live socket",
        commands.commands,
        "p50 ≤ 0.5 ms and p99 ≤ 2 ms alone, ≥ 10,000/s at concurrency 64",
        "5,000 devices that acknowledge at once; from before the POST until the live socket says success.",
    ),
    5: Row(
        "sample → live socket at 5,000/s",
        ingest.live,
        "p99 ≤ 3 ms",
        "One watcher of the whole fleet. Samples carry whole milliseconds, rounded down, so up to 1 ms of this is rounding.",
    ),
    6: Row(
        "memory",
        size.memory,
        "≤ 30 MB idle, ≤ 8 KB per idle connection, ≤ 120 MB plus the ring with 10,000 strips every 5 s",
        "Resident size from /proc. The ring's part is what was measured above 120 MB, at most its budget of 64 MiB.",
    ),
    7: Row(
        "history through REST",
        history.reads,
        "30 days by hour and a year by day ≤ 5 ms p99 warm, a raw day ≤ 20 ms",
        "A year of quarter-hours and a day of 5-second samples for each device, loaded over MQTT with the devices interleaved.",
    ),
    8: Row(
        "disk per sample (SQLite)",
        size.disk,
        "≤ 30 bytes",
        "Days of 5-second samples; history.db with all rollups, after a clean stop.",
        "by the tables' sizes (SQLite's dbstat): 30.5 bytes are the raw samples (a packed key and integers in a B-tree, 8 % of "
        "its pages unused), 3.5 the rollups, and 5.9 pages freed when staged samples were moved into place, which later samples "
        "use again: over months the figure nears 34. Storing closed days as columns would go below the goal.",
    ),
    9: Row(
        "start to ready",
        presence.start,
        "≤ 0.3 s empty, ≤ 1 s with 10,000 devices",
        "From starting the process to the line that says where it listens; best and worst of five.",
    ),
    10: Row(
        "reconnect storm of 10,000 strips",
        presence.storm,
        "all online and heard ≤ 5 s",
        "10,000 connections at once: CONNECT, SUBSCRIBE, a status at QoS 1, PUBACK. The generator's time is in it.",
    ),
    11: Row(
        "offline detection",
        presence.offline,
        "≤ 1 s after it is due at p99 with 10,000 devices, none falsely",
        "10,000 devices report every 5 s, then all fall silent with their connections open; due is 15 s after each one's last sample.",
    ),
    12: Row(
        "cost growth",
        ingest.growth,
        "CPU per sample flat from 10 to 10,000 devices (± 20 %)",
        "20,000 samples/s in all, spread over more and more devices.",
        "the kernel's work per packet, by perf at 10,000 devices: task switches and wake-ups (21 % of the server's time), TCP, and "
        "the journal's many small commits; no function of ours takes over 3 %. At a fixed rate more devices mean fewer messages "
        "each time a connection wakes; in row 1, where connections are busy, a sample costs a fifth of this.",
    ),
    13: Row(
        "the same history on each database",
        by_engine.compare,
        "30 days by hour and a year by day ≤ 5 ms p99 warm, a raw day ≤ 20 ms on every engine; ≤ 6 bytes per sample on TimescaleDB",
        "40 devices, 30 days, a sample a minute, loaded in arrival order by batches of 20,000 and read through the API's router. "
        "TimescaleDB is the real extension in a WebAssembly build: its sizes count, its times say only that it works.",
    ),
}
