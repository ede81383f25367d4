"""What a server adds to a home: keys, groups of requests, idempotency, queues, workers."""
