"""Simple convex and non-convex problems, on which Adam need not be the best (1905.09997)."""
