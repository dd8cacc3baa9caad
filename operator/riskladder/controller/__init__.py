"""The running operator: Kopf handlers that only enqueue, the work queue, the reconciler, health and metrics."""
