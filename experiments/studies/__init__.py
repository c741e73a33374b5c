"""Studies: questions that are answered by parts of their own, with their tables and figures."""
