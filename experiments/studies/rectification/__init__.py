"""Study: what does the rectification of RAdam do to the variance of its step?"""
