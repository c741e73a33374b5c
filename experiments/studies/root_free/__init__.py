"""Root-free adaptive methods against their parents with the root (Lin et al. 2024, 2402.03496)."""
