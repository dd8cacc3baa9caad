"""Pure decisions: a snapshot of the cluster and a time in, a plan out. No I/O, no clock, no cluster client."""
