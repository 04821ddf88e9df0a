"""The local stand-in for the API: ``python -m donutwork_magics.sandbox``, or `process.Sandbox` from Python.

behaviour.py   what is injected: latency, server time and faults, drawn from a seed; pure
api.py         what the API answers; pure
http1.py       one HTTP/1.1 connection
server.py      listens, and ends with its parent
process.py     the parent's side: starts, holds and ends the child
"""
