"""Study of Adam and others on simple problems (arXiv 1905.09997)."""
