"""Calls over one connection: timed where the bytes pass, each with one deadline, in HTTP/1.1 or HTTP/2."""
