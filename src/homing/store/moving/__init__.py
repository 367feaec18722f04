"""From the embedded store to PostgreSQL: everything that the one holds, row by row, and proof that the other has it.

``source`` reads a store at rest, ``target`` writes and remembers how far it is, ``compare`` finds where two tables
differ, ``move`` is the whole way.
"""
