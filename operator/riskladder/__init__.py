"""Riskladder: a Kubernetes operator that turns a model-risk policy into something the cluster enforces."""

__version__ = "0.1.0"
