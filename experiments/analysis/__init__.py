"""Numbers, tables and verdicts computed from stored results alone."""
