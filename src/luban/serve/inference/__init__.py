"""The open inference protocol (V2) over REST and gRPC."""
