"""Numbers in, verdict out: metrics, intervals that respect clusters, the promotion gate and its pictures."""
