"""Serve one OpenStack WSGI application: `serve.py MODULE PORT`, in the services' own environment."""

import importlib
import sys

import waitress

module, port = sys.argv[1], int(sys.argv[2])
sys.argv[1:] = []  # Keystone and its like read the command line when they are imported
waitress.serve(importlib.import_module(module).application, host="127.0.0.1", port=port, threads=8)
