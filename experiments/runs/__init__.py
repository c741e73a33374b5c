"""Runs, sweeps and grids: what is computed, in pieces that are stored as they are done."""
