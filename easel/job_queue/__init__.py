"""The only room that knows RQ and Redis: put, claim, place in line, cancel, progress, results, what is owed to whom."""
