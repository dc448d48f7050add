"""The benchmark harness: starts processes, takes their times and sizes, writes the report."""
