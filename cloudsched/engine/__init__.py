"""The scheduler itself: observe → plan → apply, one loop, one thread that writes.

Whatever blocks (a cloud, a batch system) runs in threads of its own with a time limit; what it brings is recorded by
the loop. Decisions are the policy's alone.
"""
