"""Optimizers as maps on phase space, and the parity of their state."""
