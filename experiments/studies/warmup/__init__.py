"""Study: why does Adam need warmup?"""
