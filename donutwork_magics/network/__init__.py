"""The httpx transport that takes the time at the network stream and holds the deadline of a call."""
