"""What a study needs around the library: problems, configuration, results, figures.

Nothing here is imported by `rodflow`.
"""
