"""Iterates and flows in lockstep, in one compiled program, and what is recorded of them."""
