"""Studies that are no grid of tracked runs, one a file: what each computes, and how it is shown."""
