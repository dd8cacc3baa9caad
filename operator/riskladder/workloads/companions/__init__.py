"""Component workloads: what is suspended with a model, and what scales it."""
