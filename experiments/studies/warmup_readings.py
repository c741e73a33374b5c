def tables(r): return []
def findings(r): return []
