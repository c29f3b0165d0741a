"""Rivals that the benchmarks compare with; each is tested against a reference before it is one."""
