"""The configuration: one file becomes one frozen Config; every complaint names file, line, option and what is accepted.

Nothing here opens a database or a socket, and no file is ever rewritten.
"""
