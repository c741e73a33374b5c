"""The schemas of the groups in `configs/`: which keys exist, of what type, in what range.

They import nothing of JAX, so that a mistake in a configuration is found at once.
"""
