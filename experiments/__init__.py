"""The application around the library: problems, configuration, runs, studies, results, figures.

Nothing here is imported by `rodflow`.
"""
