"""Benchmarks, which print tables: distances, times, memory and scaling."""
