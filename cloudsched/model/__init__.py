"""The values everything else is made of: frozen, typed, without behaviour that touches the world.

Fields that v1 published in JSON keep v1's names and units here, in the tables and in state documents (PARITY 3):
one vocabulary instead of a translation table per layer. Times are integer Unix seconds, as v1 published them;
MB, GB and seconds are the units unless the name says otherwise.
"""
