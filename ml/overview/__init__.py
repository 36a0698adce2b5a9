"""Read models: what people ask about a deployment, as plain values. The terminal, the demo and pages print the same ones.

Each function reads ledger and lake once and changes nothing; `ml.records.to_record` makes JSON of what it returns.
"""
