"""Study of root-free adaptive methods and their parents (arXiv 2402.03496)."""
