"""Study: have architectures evolved to suit Adam?"""
