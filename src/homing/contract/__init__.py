"""The callback contract on the wire: statuses, notifications, forms, signatures. Pure: no I/O, clock, randomness, logging."""
