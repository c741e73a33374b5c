"""Study of the variance that rectified Adam corrects (arXiv 1908.03265)."""
