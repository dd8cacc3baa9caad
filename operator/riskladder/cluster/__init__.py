"""Everything that talks to the API server: connection, client, caches, Events, the record chain, the lease."""
