"""What is generated from the code: CRDs, RBAC, the containment lock, components and the API reference."""
