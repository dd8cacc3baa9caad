"""The Helm charts, generated from the manifests that kustomize builds: one source, and a test holds both equal."""
