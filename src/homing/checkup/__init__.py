"""Looks at a node from beside it and says whether it is well, and where it is not, what to do.

It changes nothing: no lock is taken, nothing is written into the store, no endpoint is sent anything.
"""
