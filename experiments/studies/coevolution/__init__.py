"""Study of a co-evolution of architectures and optimizers."""
