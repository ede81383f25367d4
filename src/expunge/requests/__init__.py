"""The life of a request, without a server: accept, publish what is clean, destroy."""
