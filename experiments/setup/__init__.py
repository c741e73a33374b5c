"""Objects that a configuration names: optimizers, flows, observers, and how JAX is set up."""
