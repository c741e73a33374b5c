"""The report of runs, grids and studies: one offline page, and the figures of a paper."""
