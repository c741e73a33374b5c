"""Data sets, one a file. None of them needs a network."""
