"""What is generated from the code: CRDs, RBAC, admission policies and their digests, components, the API reference."""
