"""Model versions, their aliases, and the ledger that says which version is the champion and why."""
