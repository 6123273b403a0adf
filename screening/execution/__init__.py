"""Where work runs and how it is kept: workers, clusters, shards, locks."""
