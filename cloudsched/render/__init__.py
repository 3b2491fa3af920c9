"""Values in, v1's text and JSON documents out, byte for byte (PARITY 1.2, 2, 3); pure, without a clock or a store.

Control characters in a name would break a table or forge a line of it: every text shows `?` in their place
(`cells.cell`). JSON documents keep them, escaped.
"""
