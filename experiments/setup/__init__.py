"""Set-up of runs: optimizers, flows and observers that a configuration names, JAX, and a clock."""
