"""Where bytes and facts live: blobs (fsspec) and the ledger (SQL). Does not know what they mean."""
