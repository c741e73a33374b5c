"""Files that are whole or absent: results, checkpoints and locks."""
