"""Proxies before the servers: what stands in their configuration, whichever program reads it."""
