"""Study of learning rate warmup: variance, or sharpness?"""
