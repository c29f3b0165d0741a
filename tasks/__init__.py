"""Benchmarks, one module a task."""
