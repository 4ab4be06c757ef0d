"""OCI content: references, credentials, registries, the store, layouts, daemons."""
