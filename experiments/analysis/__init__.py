"""Numbers, tables, verdicts and the style of figures, from stored results alone."""
