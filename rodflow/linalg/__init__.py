"""Linear algebra under `vmap`: decompositions, Lanczos iteration, complementarity, trees."""
