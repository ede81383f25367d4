"""What was done, undeniably: a transparency log that strangers can check with a public key alone."""
