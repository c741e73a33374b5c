"""The report of a study: one offline page, and the figures of a paper."""
