"""What the figures were taken on."""

import os
import platform
import time
from datetime import datetime, timezone
from pathlib import Path


def describe() -> dict:
    return {
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memoryGiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "loadBefore": os.getloadavg()[0],
    }


def fdatasync_ms(folder: Path, times: int = 300) -> dict:
    """Median and 99th percentile of writing 4 KiB and waiting for the disk."""
    path = folder / "fdatasync"
    taken = []
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(file, 0, 4096 * times)
        os.fsync(file)
        for index in range(times):
            start = time.perf_counter()
            os.pwrite(file, os.urandom(4096), index * 4096)
            os.fdatasync(file)
            taken.append((time.perf_counter() - start) * 1000)
    finally:
        os.close(file)
        path.unlink()
    taken.sort()
    return {"p50": round(taken[times // 2], 3), "p99": round(taken[times * 99 // 100], 3)}


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
